"""Which pictures a fine-tuning sees at which step: pure functions of the recipe and the seed."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mernet.model.backbone import normalise, resize
from mernet.model.errors import TrainingError
from mernet.model.training.finetuning.augmentation import Ranges, variant_homographies, warp
from mernet.model.training.finetuning.recipes import Recipe
from mernet.model.training.finetuning.repeat_factors import epoch_order, repeat_factors

Picks = NDArray[np.int64]
"""Pictures to show (B, 2): image index and number of the variant, 0 for the original."""


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Labelled pictures of one size: pixels (N, 1, S, S) uint8, labels (N, K) float32 of 0 and 1.

    Raises TrainingError where there are none, or other numbers of pictures and labels.
    """

    pixels: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if len(self.pixels) != len(self.labels) or len(self.pixels) == 0:
            raise TrainingError(
                f"{len(self.pixels)} pictures with {len(self.labels)} rows of labels: give one row "
                "for each picture, and at least one picture"
            )

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def size(self) -> int:
        """The pictures' width and height S in pixels."""
        return self.pixels.shape[-1]

    @property
    def classes(self) -> int:
        """How many classes K the labels have."""
        return self.labels.shape[1]

    def to(self, device: torch.device) -> "Images":
        """The same on a device."""
        return Images(self.pixels.to(device), self.labels.to(device))

    def digest(self) -> str:
        """Hex SHA-256 of pixels, labels and their shapes."""
        digest = hashlib.sha256(repr((self.pixels.shape, self.labels.shape)).encode())
        for part in (self.pixels, self.labels):
            digest.update(part.cpu().numpy().tobytes())
        return digest.hexdigest()


def prepare_images(
    pictures: Iterable[NDArray[np.uint8]], labels: NDArray[np.bool_], size: int
) -> Images:
    """Images of 8-bit grey pictures (any height, any width), resized as for classifying.

    `pictures` may read them one by one; labels (N, K). Raises TrainingError like `Images`.
    """
    resized = [(resize(picture, size) * 255).round().to(torch.uint8) for picture in pictures]
    pixels = torch.cat(resized) if resized else torch.empty(0, 1, size, size, dtype=torch.uint8)
    return Images(pixels, torch.from_numpy(labels.astype(np.float32)))


def training_picks(
    labels: NDArray[np.bool_], recipe: Recipe, seed: int, start: int = 0
) -> Iterator[Picks]:
    """What each step shows, from step `start` on, without end; always `batch_size` pictures.

    An epoch shows every variant of every image, or more of those with rare classes; a batch may
    span two epochs.
    """
    factors = repeat_factors(labels, recipe.repeat_threshold, recipe.repeat_cap)
    return islice(_steps(factors, recipe, seed), start, None)


def validation_picks(images: int, recipe: Recipe) -> Iterator[Picks]:
    """Every image's `validation_variants`, in batches of `batch_size`; the last may be smaller."""
    shape = (images, recipe.validation_variants)
    picks = np.stack(np.unravel_index(np.arange(images * recipe.validation_variants), shape), 1)
    for start in range(0, len(picks), recipe.batch_size):
        yield picks[start : start + recipe.batch_size]


def load_batch(images: Images, picks: Picks, seed: int, ranges: Ranges) -> tuple[Tensor, Tensor]:
    """Network input (B, 3, S, S) float32 and labels (B, K) float32 of picks, on the images' device.

    A variant is drawn from the seed, the image's index and the variant's number alone.
    """
    chosen = torch.from_numpy(picks[:, 0]).to(images.pixels.device)
    grey = images.pixels[chosen].float() / 255
    warped = warp(grey, variant_homographies(seed, picks, ranges))
    inputs = normalise(warped).contiguous(memory_format=torch.channels_last)
    return inputs, images.labels[chosen]


def _steps(factors: NDArray[np.float64], recipe: Recipe, seed: int) -> Iterator[Picks]:
    waiting = np.empty((0, 2), dtype=np.int64)
    for epoch in count():
        waiting = np.concatenate([waiting, _epoch_picks(factors, recipe, seed, epoch)])
        whole = len(waiting) // recipe.batch_size * recipe.batch_size
        yield from waiting[:whole].reshape(-1, recipe.batch_size, 2)
        waiting = waiting[whole:]


def _epoch_picks(factors: NDArray[np.float64], recipe: Recipe, seed: int, epoch: int) -> Picks:
    order = epoch_order(np.repeat(factors, recipe.variants), seed, epoch)
    images, variants = np.divmod(order, recipe.variants)
    if recipe.fresh_variants:
        fresh = np.random.default_rng((seed, epoch, 1)).integers(1, 2**62, len(variants))
        variants = np.where(variants > 0, fresh, 0)
    return np.stack([images, variants], axis=1)
