"""A labelled data set: image files, the classes each image shows, and the part it belongs to."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class Part(StrEnum):
    """The purpose of an image: training, validation (calibration and early stopping) or test."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True, slots=True, eq=False)
class DataSet:
    """N image files labelled with K classes.

    Attributes:
        classes: Class codes: MERNet's 25 in chain order, or the set's own in the order of their
            numbers.
        class_names: Class names.
        paths: The image files.
        labels: (N, K) bool.
        parts: The part that the set itself assigns to each image; None if it assigns none.
    """

    classes: tuple[str, ...]
    class_names: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: NDArray[np.bool_]
    parts: tuple[Part | None, ...]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.paths)

    @property
    def names(self) -> tuple[str, ...]:
        """The file names of the images, without folders."""
        return tuple(path.name for path in self.paths)

    @property
    def is_single_label(self) -> bool:
        """Whether every image shows exactly one class."""
        return bool((self.labels.sum(axis=1) == 1).all())

    def subset(self, indices: Sequence[int] | NDArray[np.integer]) -> "DataSet":
        """Return the images at `indices`, in that order, with the same classes."""
        chosen = [int(index) for index in indices]
        return replace(
            self,
            paths=tuple(self.paths[index] for index in chosen),
            labels=self.labels[chosen],
            parts=tuple(self.parts[index] for index in chosen),
        )

    def content_hashes(self) -> tuple[str, ...]:
        """Return the hex SHA-256 of each image file."""
        return tuple(_sha256(path) for path in self.paths)

    def digest(self) -> str:
        """Return a hex SHA-256 over classes, file names, contents and labels of all images.

        It does not depend on the folder or on the order of the images, and identifies the data that
        a checkpoint was trained on. Reads every file.
        """
        images = sorted(
            (name, content, "".join("01"[label] for label in row))
            for name, content, row in zip(
                self.names, self.content_hashes(), self.labels.tolist(), strict=True
            )
        )
        return hashlib.sha256(json.dumps([self.classes, images]).encode()).hexdigest()


def _sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
