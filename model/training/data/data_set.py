"""A labelled data set: image files, the classes each of them shows, and the parts it came in."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class Part(StrEnum):
    """What an image is used for: learning, calibrating and stopping, or judging."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True, slots=True, eq=False)
class DataSet:
    """N image files labelled with K classes.

    `classes` are codes: MERNet's 25 in chain order, or the set's own in the order of their ids.
    `labels` is (N, K) bool. `parts` holds, for each image, the part that the set itself puts it
    in, None where it says nothing.
    """

    classes: tuple[str, ...]
    class_names: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: NDArray[np.bool_]
    parts: tuple[Part | None, ...]

    def __len__(self) -> int:
        """The number of images."""
        return len(self.paths)

    @property
    def names(self) -> tuple[str, ...]:
        """The file names of the images, without their folders."""
        return tuple(path.name for path in self.paths)

    @property
    def is_single_label(self) -> bool:
        """Whether every image shows exactly one class."""
        return bool((self.labels.sum(axis=1) == 1).all())

    def subset(self, indices: Sequence[int] | NDArray[np.integer]) -> "DataSet":
        """The images at `indices`, in that order, with the same classes."""
        chosen = [int(index) for index in indices]
        return replace(
            self,
            paths=tuple(self.paths[index] for index in chosen),
            labels=self.labels[chosen],
            parts=tuple(self.parts[index] for index in chosen),
        )

    def content_hashes(self) -> tuple[str, ...]:
        """The sha256 of each image file, in hex."""
        return tuple(_sha256(path) for path in self.paths)

    def digest(self) -> str:
        """A sha256 in hex over classes, file names, contents and labels of all images.

        The same wherever the folder lies and in whatever order the images come; it tells later
        which data a checkpoint learnt from. Reads every file.
        """
        images = sorted(
            (name, content, "".join("01"[label] for label in row))
            for name, content, row in zip(
                self.names, self.content_hashes(), self.labels.tolist(), strict=True
            )
        )
        return hashlib.sha256(json.dumps([self.classes, images]).encode()).hexdigest()


def _sha256(path: Path) -> str:
    """The sha256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
