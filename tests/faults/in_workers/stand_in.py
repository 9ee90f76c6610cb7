"""The stand-in for the classifier, and products that do harm."""

import hashlib
import os
import resource
import signal
from pathlib import Path

import numpy as np

from mernet.worker import checkpoints, product_images, scheduler

SWITCHES = Path(os.environ["FAULTS_SWITCHES"])
INGEST_RETRY_SECONDS = 5.0
MORE_THAN_ALLOWED = 4 * 2**30


class StandIn:
    """Scores that follow from the bytes of each rendering alone."""

    batch_size = 4

    def __init__(self, path):
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()

    def probabilities(self, renderings):
        if (SWITCHES / "device").is_file():
            raise RuntimeError((SWITCHES / "device").read_text())
        seeds = [hashlib.sha256(each.tobytes()).digest() for each in renderings]
        numbers = [np.random.default_rng(list(seed)).random(25) for seed in seeds]
        return np.array(numbers, dtype=np.float32)


def load(path, *_, **__):
    return StandIn(path)


decode = product_images.decode


def is_switched_on(name, product_id):
    switch = SWITCHES / name
    return switch.is_file() and switch.read_text() == product_id


def eat_memory():
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, before[1]))
    try:
        bytearray(MORE_THAN_ALLOWED)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def decode_or_suffer(data, name, *rest, **options):
    if is_switched_on("poison", str(name)):
        os.kill(os.getpid(), signal.SIGKILL)
    if is_switched_on("memory", str(name)):
        eat_memory()
    return decode(data, name, *rest, **options)


def install():
    product_images.decode = decode_or_suffer
    checkpoints.load_checkpoint = load
    scheduler.INGEST_RETRY_SECONDS = INGEST_RETRY_SECONDS
