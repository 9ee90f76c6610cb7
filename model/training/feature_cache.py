"""Features of a fixed backbone, cached on disk: no picture is computed twice, in this run or later.

The cache key of a piece of the pictures is a hash of the backbone's weights, the input size, the
kind of device and the pictures themselves, so that a cached piece is never out of date.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mernet.atomic_file import replacing_file
from mernet.model.backbone import (
    BATCH_SIZES,
    Backbone,
    extract_features_within_memory,
    resize,
    weights_sha256,
)
from mernet.model.pictures import Picture
from mernet.model.training.finetuning.augmentation import (
    variant_homographies,
    warp,
)
from mernet.model.training.finetuning.recipes import AugmentationRanges

PICTURES_PER_FILE = 64
"""Pictures that are computed and stored together: some seconds of work on a CPU."""


class FeatureCache:
    """Computes features with one backbone at one input size, and caches them in a folder."""

    def __init__(self, backbone: Backbone, size: int, folder: Path) -> None:
        """Create a cache.

        Args:
            backbone: The network; stays on its device.
            size: Width and height in pixels that pictures are resized to.
            folder: Folder of the cached features; created if necessary.
        """
        device = next(backbone.network.parameters()).device.type
        self._backbone, self._size, self._folder = backbone, size, folder
        self._batch_size = BATCH_SIZES.get(device, BATCH_SIZES["cpu"])
        self._key = hashlib.sha256(f"{weights_sha256(backbone)} {size} {device}".encode())

    def features(
        self, pictures: Iterable[Picture], on_progress: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        """Return the features (N, F) float32 of 8-bit grey pictures, in their order.

        Args:
            pictures: The pictures, of any height and width; read piece by piece.
            on_progress: Called with the number of pictures done so far.

        Raises:
            OutOfDeviceMemoryError: Not even one picture fits in the memory of the device.
        """
        parts = [np.empty((0, self._backbone.feature_count), dtype=np.float32)]
        done = 0
        iterator = iter(pictures)
        while piece := list(islice(iterator, PICTURES_PER_FILE)):
            parts.append(self._load_or_compute(piece))
            done += len(piece)
            if on_progress is not None:
                on_progress(done)
        return np.concatenate(parts)

    def _load_or_compute(self, pictures: list[Picture]) -> NDArray[np.float32]:
        path = self._folder / f"{self._hash(pictures)}.npy"
        if path.is_file():
            cached: NDArray[np.float32] = np.load(path, allow_pickle=False)
            return cached
        computed, self._batch_size = extract_features_within_memory(
            self._backbone, pictures, self._size, self._batch_size
        )
        with replacing_file(path) as unfinished, unfinished.open("wb") as file:
            np.save(file, computed)
        return computed

    def _hash(self, pictures: list[Picture]) -> str:
        digest = self._key.copy()
        for picture in pictures:
            digest.update(repr(picture.shape).encode())
            digest.update(np.ascontiguousarray(picture).tobytes())
        return digest.hexdigest()


def with_variants(
    pictures: Iterable[Picture], variants: int, size: int, seed: int, ranges: AugmentationRanges
) -> Iterator[Picture]:
    """Yield each picture, followed by `variants` - 1 warped ones, (size, size) uint8.

    A warped picture depends only on the seed, the index of the picture and the variant's number.
    """
    for index, picture in enumerate(pictures):
        yield picture
        for variant in range(1, variants):
            homographies = variant_homographies(seed, np.array([[index, variant]]), ranges)
            warped = warp(resize(picture, size), homographies)[0, 0]
            yield (warped * 255).round().clamp(0, 255).to(torch.uint8).numpy()
