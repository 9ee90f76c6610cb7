"""Images a second and peak memory of the classifier, by precision, input size and batch size.

`python bench/classifier.py` from the project's folder takes about two minutes on 2 cores and writes
bench/results/classifier.csv. VGG-16 with random weights; 1024 x 1024 renderings, so that resizing
counts. Each line comes from a process of its own, whose peak memory is its own too; the peak is
that of the whole process on the CPU, torch and weights included.
"""

import csv
import multiprocessing
import platform
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from mernet.model.backbone import build_backbone
from mernet.model.calibration import Platt
from mernet.model.chain import ChainHead
from mernet.model.checkpoint import Header
from mernet.model.classes import CODES
from mernet.model.classifier import Classifier

RESULTS = Path(__file__).parent / "results" / "classifier.csv"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BATCH_SIZES = {"cpu": (1, 4, 8, 16), "cuda": (8, 32, 64, 128)}[DEVICE]
FEWEST_IMAGES = {"cpu": 16, "cuda": 512}[DEVICE]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One line of the results."""

    device: str
    threads: int
    torch: str
    torchvision: str
    precision: str
    input_size: int
    batch_size: int
    images_per_second: float
    peak_memory_mb: int


def main() -> None:
    """Measure every combination and write the results."""
    spawn = multiprocessing.get_context("spawn")
    with (
        RESULTS.open("w", newline="") as file,
        ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool,
    ):
        table = csv.DictWriter(file, [field.name for field in fields(Measurement)])
        table.writeheader()
        for combination in combinations():
            measured = pool.submit(measure, *combination).result()
            table.writerow(asdict(measured))
            print(measured, flush=True)


def combinations() -> Iterator[tuple[str, int, int]]:
    """Precision, input size and batch size; bfloat16 at one batch size only."""
    for input_size in (128, 224):
        for batch_size in BATCH_SIZES:
            yield "float32", input_size, batch_size
        yield "bfloat16", input_size, BATCH_SIZES[2]


def measure(precision: str, input_size: int, batch_size: int) -> Measurement:
    """Classify random renderings after one batch to warm up."""
    classifier = random_classifier(precision, input_size, batch_size)
    shape = (max(FEWEST_IMAGES, batch_size), 1024, 1024)
    renderings = list(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    classifier.probabilities(renderings[:batch_size])
    start = time.perf_counter()
    classifier.probabilities(renderings)
    seconds = time.perf_counter() - start
    return Measurement(
        device=device_name(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        torchvision=version("torchvision"),
        precision=precision,
        input_size=input_size,
        batch_size=batch_size,
        images_per_second=round(len(renderings) / seconds, 2),
        peak_memory_mb=peak_memory() // 2**20,
    )


def random_classifier(precision: str, input_size: int, batch_size: int) -> Classifier:
    """VGG-16 with random weights under a chain head of zeros: the same work as a trained one."""
    backbone = build_backbone("vgg16", seed=0)
    backbone.network.to(DEVICE, getattr(torch, precision))
    classes = len(CODES)
    shapes = ((classes, backbone.feature_count), (classes, classes), (classes,))
    header = Header(
        name="bench",
        backbone=backbone.name,
        input_size=input_size,
        calibration=Platt.identity(classes),
        data_set_hash="none",
    )
    return Classifier(header, backbone, ChainHead(*map(np.zeros, shapes)), None, "none", batch_size)


def peak_memory() -> int:
    """Bytes: of the device on CUDA, else of this process."""
    if DEVICE == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def device_name() -> str:
    """The GPU's name, or the machine's kind and number of cores."""
    if DEVICE == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.machine()}, {multiprocessing.cpu_count()} cores"


if __name__ == "__main__":
    main()
