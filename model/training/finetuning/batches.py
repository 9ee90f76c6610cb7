"""Batches of fine-tuning: which pictures each step shows, as a function of recipe and seed."""

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
from mernet.model.training.finetuning.augmentation import (
    variant_homographies,
    warp,
)
from mernet.model.training.finetuning.oversampling import epoch_order, repeat_factors
from mernet.model.training.finetuning.recipes import AugmentationRanges, Recipe

Samples = NDArray[np.int64]
"""The pictures of a batch (B, 2): image index, and number of the variant, 0 for the original."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImages:
    """Labelled pictures of one size, in memory.

    Attributes:
        pixels: Grey levels (N, 1, S, S) uint8.
        labels: 0 or 1 for each of K classes (N, K) float32.

    Raises:
        TrainingError: There are no pictures, or not as many rows of labels as pictures.
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
        """Width and height S of the pictures in pixels."""
        return self.pixels.shape[-1]

    @property
    def classes(self) -> int:
        """The number K of classes."""
        return self.labels.shape[1]

    def to(self, device: torch.device) -> "LabelledImages":
        """Return the same images on a device."""
        return LabelledImages(self.pixels.to(device), self.labels.to(device))

    def digest(self) -> str:
        """Return the hexadecimal SHA-256 of pixels, labels and their shapes."""
        digest = hashlib.sha256(repr((self.pixels.shape, self.labels.shape)).encode())
        for part in (self.pixels, self.labels):
            digest.update(part.cpu().numpy().tobytes())
        return digest.hexdigest()


def prepare_images(
    pictures: Iterable[NDArray[np.uint8]], labels: NDArray[np.bool_], size: int
) -> LabelledImages:
    """Resize pictures in the same way as for classification, and combine them with their labels.

    Args:
        pictures: 8-bit grey pictures of any height and width; may be an iterator that reads them.
        labels: One row for each picture (N, K).
        size: Width and height of the result in pixels.

    Raises:
        TrainingError: There are no pictures, or not as many rows of labels as pictures.
    """
    resized = [(resize(picture, size) * 255).round().to(torch.uint8) for picture in pictures]
    pixels = torch.cat(resized) if resized else torch.empty(0, 1, size, size, dtype=torch.uint8)
    return LabelledImages(pixels, torch.from_numpy(labels.astype(np.float32)))


def training_batches(
    labels: NDArray[np.bool_], recipe: Recipe, seed: int, start: int = 0
) -> Iterator[Samples]:
    """Yield the batch of each step, from step `start` on, without end.

    An epoch shows every variant of every image, and images with rare classes several times. Every
    batch has `batch_size` pictures, so a batch may span two epochs.
    """
    factors = repeat_factors(labels, recipe.repeat_threshold, recipe.repeat_cap)
    return islice(_batches_from_first_step(factors, recipe, seed), start, None)


def validation_batches(images: int, recipe: Recipe) -> Iterator[Samples]:
    """Yield all `validation_variants` of each image, in order; the last batch may be smaller."""
    shape = (images, recipe.validation_variants)
    samples = np.stack(np.unravel_index(np.arange(images * recipe.validation_variants), shape), 1)
    for start in range(0, len(samples), recipe.batch_size):
        yield samples[start : start + recipe.batch_size]


def load_batch(
    images: LabelledImages, samples: Samples, seed: int, ranges: AugmentationRanges
) -> tuple[Tensor, Tensor]:
    """Compute the pictures of a batch, warped and normalised.

    A variant depends only on the seed, the index of the image and the number of the variant.

    Returns:
        Network input (B, 3, S, S) float32 and labels (B, K) float32, on the device of the images.
    """
    chosen = torch.from_numpy(samples[:, 0]).to(images.pixels.device)
    grey = images.pixels[chosen].float() / 255
    warped = warp(grey, variant_homographies(seed, samples, ranges))
    inputs = normalise(warped).contiguous(memory_format=torch.channels_last)
    return inputs, images.labels[chosen]


def _batches_from_first_step(
    factors: NDArray[np.float64], recipe: Recipe, seed: int
) -> Iterator[Samples]:
    rest = np.empty((0, 2), dtype=np.int64)
    for epoch in count():
        rest = np.concatenate([rest, _epoch_samples(factors, recipe, seed, epoch)])
        in_whole_batches = len(rest) // recipe.batch_size * recipe.batch_size
        yield from rest[:in_whole_batches].reshape(-1, recipe.batch_size, 2)
        rest = rest[in_whole_batches:]


def _epoch_samples(factors: NDArray[np.float64], recipe: Recipe, seed: int, epoch: int) -> Samples:
    order = epoch_order(np.repeat(factors, recipe.variants), seed, epoch)
    images, variants = np.divmod(order, recipe.variants)
    if recipe.fresh_variants:
        fresh = np.random.default_rng((seed, epoch, 1)).integers(1, 2**62, len(variants))
        variants = np.where(variants > 0, fresh, 0)
    return np.stack([images, variants], axis=1)
