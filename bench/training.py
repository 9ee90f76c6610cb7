"""Fine-tuning by the abstract's recipe: wall time, images a second and peak memory.

`python bench/training.py` from the project's folder writes a line of
bench/results/training.csv: on CUDA all
34,995 iterations of batch 8 in mixed precision, on a CPU 16 of them, in float32 (three minutes on 2
cores). VGG-16 at 224 x 224 with random weights; 512 random pictures, each as 31 variants. No
validation is in the time.
"""

import csv
import tempfile
import time
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from classifier import DEVICE, device_name, peak_memory

from mernet.model.backbone import build_backbone
from mernet.model.checkpoint import HeadKind
from mernet.model.classes import CODES
from mernet.model.training.finetuning.batches import LabelledImages
from mernet.model.training.finetuning.finetune import fine_tune
from mernet.model.training.finetuning.recipes import RECIPES

RESULTS = Path(__file__).parent / "results" / "training.csv"
ITERATIONS = {"cpu": 16, "cuda": RECIPES["paper"].iterations}[DEVICE]
SIZE, PICTURES = 224, 512


@dataclass(frozen=True, slots=True)
class Measurement:
    """One line of the results; the memory is the device's on CUDA, else the whole process's."""

    device: str
    threads: int
    torch: str
    torchvision: str
    backbone: str
    precision: str
    batch_size: int
    iterations: int
    wall_seconds: float
    images_per_second: float
    peak_memory_mb: int


def main() -> None:
    """Measure and write the results."""
    measured = asdict(measure())
    kept = [row for row in earlier_rows() if row["device"] != measured["device"]]
    with RESULTS.open("w", newline="") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Measurement)])
        table.writeheader()
        table.writerows([*kept, measured])
    print(measured)


def earlier_rows() -> list[dict[str, str]]:
    """What was measured before, on this device and on others."""
    if not RESULTS.is_file():
        return []
    with RESULTS.open(newline="") as file:
        return list(csv.DictReader(file))


def measure() -> Measurement:
    """Fine-tune on random pictures, with one to validate on at the end, outside the time."""
    recipe = RECIPES["paper"].changed(
        iterations=ITERATIONS, validate_every=ITERATIONS, validation_variants=1
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
            save_every=ITERATIONS,
            progress=lambda *_: stamps.append(time.perf_counter()),
        )
    # The first step chooses algorithms and fills caches.
    seconds = stamps[-1] - stamps[1]
    return Measurement(
        device=device_name(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        torchvision=version("torchvision"),
        backbone="vgg16",
        precision="bfloat16" if DEVICE == "cuda" else "float32",
        batch_size=recipe.batch_size,
        iterations=ITERATIONS,
        wall_seconds=round(stamps[-1] - stamps[0], 1),
        images_per_second=round((ITERATIONS - 1) * recipe.batch_size / seconds, 2),
        peak_memory_mb=peak_memory() // 2**20,
    )


def random_images(count: int) -> LabelledImages:
    """Random pictures with random labels of 25 classes."""
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 1, SIZE, SIZE), dtype=torch.uint8, generator=random)
    labels = np.random.default_rng(0).random((count, len(CODES))) < 0.2
    return LabelledImages(pixels, torch.from_numpy(labels.astype(np.float32)))


if __name__ == "__main__":
    main()
