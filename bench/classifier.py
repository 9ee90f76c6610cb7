"""Measure the classifier's images a second and peak memory, by precision, input and batch size.

Run `python -m bench.classifier`; it takes about two minutes on 2 cores. The results go to
bench/results/classifier.csv. VGG-16 with random weights classifies 1024 x 1024 renderings, so that
resizing counts. Each row is measured in a process of its own, because a peak of memory is that of a
whole process: on a CPU, torch and the weights are included.
"""

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch

from bench.recording import add_rows, option_parser
from bench.torch_device import DEVICE, device_name, peak_memory, torch_versions
from mernet.model.backbone import build_backbone
from mernet.model.calibration import Platt
from mernet.model.chain import ChainHead
from mernet.model.checkpoint import Header
from mernet.model.classes import CODES
from mernet.model.classifier import Classifier

INPUT_SIZES = (128, 224)
BATCH_SIZES = {"cpu": (1, 4, 8, 16), "cuda": (8, 32, 64, 128)}[DEVICE]
FEWEST_IMAGES = {"cpu": 16, "cuda": 512}[DEVICE]


def main() -> None:
    """Measure every combination and add the results."""
    parser = option_parser(__doc__)
    parser.add_argument("--input-sizes", type=int, nargs="+", default=INPUT_SIZES)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=BATCH_SIZES)
    arguments = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
        for combination in combinations(arguments.input_sizes, arguments.batch_sizes):
            row = pool.submit(measure, *combination).result()
            add_rows(arguments.out / "classifier.csv", [row], device_name(), torch_versions())


def combinations(
    input_sizes: Sequence[int], batch_sizes: Sequence[int]
) -> Iterator[tuple[str, int, int]]:
    """Yield precision, input size and batch size; bfloat16 for one batch size only."""
    for input_size in input_sizes:
        for batch_size in batch_sizes:
            yield "float32", input_size, batch_size
        yield "bfloat16", input_size, batch_sizes[len(batch_sizes) // 2]


def measure(precision: str, input_size: int, batch_size: int) -> dict[str, object]:
    """Classify random renderings, after one batch to warm up."""
    classifier = random_classifier(precision, input_size, batch_size)
    shape = (max(FEWEST_IMAGES, batch_size), 1024, 1024)
    renderings = list(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    classifier.probabilities(renderings[:batch_size])
    start = time.perf_counter()
    classifier.probabilities(renderings)
    seconds = time.perf_counter() - start
    return {
        "threads": torch.get_num_threads(),
        "precision": precision,
        "input_size": input_size,
        "batch_size": batch_size,
        "images_per_second": round(len(renderings) / seconds, 2),
        "peak_memory_mb": peak_memory() // 2**20,
    }


def random_classifier(precision: str, input_size: int, batch_size: int) -> Classifier:
    """Return a VGG-16 with random weights and a chain head of zeros: as costly as a trained one."""
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


if __name__ == "__main__":
    main()
