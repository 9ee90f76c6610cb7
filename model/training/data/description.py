"""The description of a data set: counts of classes and parts, labels per image, duplicates."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mernet.model.classes import ClassGroup
from mernet.model.training.data.data_set import DataSet, Part

MAJORITY_ABOVE, MINORITY_FROM = 0.10, 0.05
"""The abstract's limits: majority above 10% of the images, extreme minority below 5%."""


@dataclass(frozen=True, slots=True)
class LabelCount:
    """The number of images that show a class.

    Attributes:
        code: Code of the class.
        name: Name of the class.
        count: Number of images that show it.
        share: Their share (0 to 1) of all images.
        group: How common the class is.
        by_part: Number of images that show it in each part.
    """

    code: str
    name: str
    count: int
    share: float
    group: ClassGroup
    by_part: dict[Part, int]


@dataclass(frozen=True, slots=True, eq=False)
class Description:
    """A data set in numbers.

    Attributes:
        images: Number of images.
        by_part: Number of images in each part.
        classes: The count of each class.
        labels_per_image: Mean, minimum and maximum number of labels per image.
        co_occurrence: (K, K) int, the number of images that show both classes; on the diagonal, the
            number that show the one class.
        duplicates: Number of images whose file has the content of an earlier one.
        straddling: Number of images with a duplicate in another part.
        digest: The digest of the data set.
    """

    images: int
    by_part: dict[Part, int]
    classes: tuple[LabelCount, ...]
    labels_per_image: tuple[float, int, int]
    co_occurrence: NDArray[np.int64]
    duplicates: int
    straddling: int
    digest: str


def describe_data_set(data: DataSet, parts: Sequence[Part | None]) -> Description:
    """Count the contents of a data set whose images are in `parts`; reads every file."""
    labels_per_image = data.labels.sum(axis=1)
    counted = data.labels.astype(np.int64)
    duplicates = _parts_of_duplicates(data.content_hashes(), parts)
    return Description(
        images=len(data),
        by_part=_count_by_part(np.ones(len(data), dtype=np.bool_), parts),
        classes=tuple(class_counts(data, parts)),
        labels_per_image=(
            float(labels_per_image.mean()),
            int(labels_per_image.min()),
            int(labels_per_image.max()),
        ),
        co_occurrence=counted.T @ counted,
        duplicates=sum(len(each) - 1 for each in duplicates),
        straddling=sum(len(each) for each in duplicates if len(set(each)) > 1),
        digest=data.digest(),
    )


def class_counts(data: DataSet, parts: Sequence[Part | None]) -> list[LabelCount]:
    """Count the images of each class, in all and in each part of `parts`."""
    shares = data.labels.mean(axis=0)
    return [
        LabelCount(
            code=code,
            name=name,
            count=int(shown.sum()),
            share=float(share),
            group=group_of_share(float(share)),
            by_part=_count_by_part(shown, parts),
        )
        for code, name, shown, share in zip(
            data.classes, data.class_names, data.labels.T, shares, strict=True
        )
    ]


def group_of_share(share: float) -> ClassGroup:
    """Return the group of a class that this share (0 to 1) of images shows."""
    if share > MAJORITY_ABOVE:
        return ClassGroup.MAJORITY
    return ClassGroup.MINORITY if share >= MINORITY_FROM else ClassGroup.EXTREME_MINORITY


def _count_by_part(shown: NDArray[np.bool_], parts: Sequence[Part | None]) -> dict[Part, int]:
    """Count the images that are `shown` (N,) in each part."""
    counts = Counter(part for part, is_shown in zip(parts, shown, strict=True) if is_shown)
    return {part: counts[part] for part in Part}


def _parts_of_duplicates(
    hashes: Sequence[str], parts: Sequence[Part | None]
) -> list[list[Part | None]]:
    """Return, for each content of several files, the parts of the images that have it."""
    parts_of_content = defaultdict(list)
    for content, part in zip(hashes, parts, strict=True):
        parts_of_content[content].append(part)
    return [found for found in parts_of_content.values() if len(found) > 1]
