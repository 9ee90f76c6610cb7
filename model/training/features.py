"""Features of a fixed backbone, kept on disk: a stopped run goes on, a second one computes nothing.

Pictures go through in pieces. A piece is kept under a hash of the backbone's weights, the input
size, the kind of device and the pictures themselves, so that what is found is never out of date.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mernet.model.backbone import BATCH_SIZES, Backbone, extract_features_within_memory, resize
from mernet.model.training.data.picture_files import Picture
from mernet.model.training.finetuning.augmentation import Ranges, variant_homographies, warp

PIECE = 64
"""Pictures computed and kept together: on a CPU, some seconds' work."""

Progress = Callable[[int], None]
"""Gets the number of pictures done so far."""


class FeatureCache:
    """Computes features with one backbone at one input size, and keeps them in a folder."""

    def __init__(self, backbone: Backbone, size: int, folder: Path) -> None:
        """`size` in pixels; the backbone stays on the device where it is."""
        device = next(backbone.network.parameters()).device.type
        self._backbone, self._size, self._folder = backbone, size, folder
        self._batch_size = BATCH_SIZES.get(device, BATCH_SIZES["cpu"])
        self._key = hashlib.sha256(f"{weights_hash(backbone)} {size} {device}".encode())

    def features(
        self, pictures: Iterable[Picture], progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """Features (N, F) float32 of 8-bit grey pictures, in their order.

        Raises OutOfDeviceMemoryError where even one does not fit the device.
        """
        parts = [np.empty((0, self._backbone.feature_count), dtype=np.float32)]
        done = 0
        for piece in _pieces(pictures):
            parts.append(self._piece(piece))
            done += len(piece)
            if progress is not None:
                progress(done)
        return np.concatenate(parts)

    def _piece(self, pictures: list[Picture]) -> NDArray[np.float32]:
        path = self._folder / f"{self._hash(pictures)}.npy"
        if path.is_file():
            kept: NDArray[np.float32] = np.load(path, allow_pickle=False)
            return kept
        computed, self._batch_size = extract_features_within_memory(
            self._backbone, pictures, self._size, self._batch_size
        )
        self._folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        with unfinished.open("wb") as file:
            np.save(file, computed)
        os.replace(unfinished, path)
        return computed

    def _hash(self, pictures: list[Picture]) -> str:
        digest = self._key.copy()
        for picture in pictures:
            digest.update(repr(picture.shape).encode())
            digest.update(np.ascontiguousarray(picture).tobytes())
        return digest.hexdigest()


def weights_hash(backbone: Backbone) -> str:
    """Hex SHA-256 of a backbone's name and weights."""
    digest = hashlib.sha256(backbone.name.encode())
    for tensor in backbone.network.state_dict().values():
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def with_variants(
    pictures: Iterable[Picture], variants: int, size: int, seed: int, ranges: Ranges
) -> Iterator[Picture]:
    """Each picture followed by `variants` - 1 warped ones, (size, size) uint8.

    A warped one depends on the seed, the picture's place and the variant's number alone.
    """
    for place, picture in enumerate(pictures):
        yield picture
        for variant in range(1, variants):
            maps = variant_homographies(seed, np.array([[place, variant]]), ranges)
            warped = warp(resize(picture, size), maps)[0, 0]
            yield (warped * 255).round().clamp(0, 255).to(torch.uint8).numpy()


def _pieces(pictures: Iterable[Picture]) -> Iterator[list[Picture]]:
    iterator = iter(pictures)
    while piece := list(islice(iterator, PIECE)):
        yield piece
