"""Measure fine-tuning by the abstract's recipe: wall time, images a second and peak memory.

Run `python -m bench.training`. The results go to bench/results/training.csv. On CUDA it runs all
34,995 iterations of batch 8 in mixed precision, on a CPU 16 of them in float32 (three minutes on 2
cores). VGG-16 at 224 x 224 with random weights; 512 random pictures, each as 31 variants. The time
does not include validation.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from bench.recording import add_rows, option_parser
from bench.torch_device import DEVICE, device_name, peak_memory, torch_versions
from mernet.model.backbone import build_backbone
from mernet.model.checkpoint import HeadKind
from mernet.model.classes import CODES
from mernet.model.training.finetuning.batches import LabelledImages
from mernet.model.training.finetuning.finetune import fine_tune
from mernet.model.training.finetuning.recipes import RECIPES

ITERATIONS = {"cpu": 16, "cuda": RECIPES["paper"].iterations}[DEVICE]
SIZE, PICTURES = 224, 512


def main() -> None:
    """Measure once and add the result."""
    parser = option_parser(__doc__)
    parser.add_argument("--iterations", type=int, default=ITERATIONS)
    arguments = parser.parse_args()
    row = measure(arguments.iterations)
    add_rows(arguments.out / "training.csv", [row], device_name(), torch_versions())


def measure(iterations: int) -> dict[str, object]:
    """Fine-tune on random pictures, and validate on one of them at the end, outside the time."""
    recipe = RECIPES["paper"].changed(
        iterations=iterations, validate_every=iterations, validation_variants=1
    )
    backbone = build_backbone("vgg16", seed=0)
    stamps = [time.perf_counter()]
    with tempfile.TemporaryDirectory() as folder:
        fine_tune(
            backbone,
            random_images(PICTURES),
            random_images(1),
            recipe,
            head=HeadKind.CHAIN,
            folder=Path(folder),
            device=DEVICE,
            save_every=iterations,
            progress=lambda *_: stamps.append(time.perf_counter()),
        )
    # The first step chooses algorithms and fills caches.
    seconds = stamps[-1] - stamps[1]
    return {
        "threads": torch.get_num_threads(),
        "backbone": "vgg16",
        "precision": "bfloat16" if DEVICE == "cuda" else "float32",
        "batch_size": recipe.batch_size,
        "iterations": iterations,
        "wall_seconds": round(stamps[-1] - stamps[0], 1),
        "images_per_second": round((iterations - 1) * recipe.batch_size / seconds, 2),
        "peak_memory_mb": peak_memory() // 2**20,
    }


def random_images(count: int) -> LabelledImages:
    """Return random pictures with random labels of 25 classes."""
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 1, SIZE, SIZE), dtype=torch.uint8, generator=random)
    labels = np.random.default_rng(0).random((count, len(CODES))) < 0.2
    return LabelledImages(pixels, torch.from_numpy(labels.astype(np.float32)))


if __name__ == "__main__":
    main()
