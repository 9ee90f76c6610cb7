"""Splits a data set: assigns each image to training, validation or test.

Uses iterative stratification of multi-label data (Sechidis, Tsoumakas, Vlahavas 2011, "On the
Stratification of Multi-Label Data"), applied to groups of images instead of images: pictures
of one place taken together are near-duplicates and must stay in one part. One thing differs:
the part that needs most of a class is the one that lacks the largest share, not the largest
count, so that each part gets one group of a rare class before any part gets a second.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mernet.model.errors import DataSetError
from mernet.model.training.data.data_set import DataSet, Part
from mernet.model.training.text_files import Problems, read_csv, write_csv
from mernet.printable import printable

SHARES = (0.6, 0.15, 0.25)
"""The abstract's shares of train, validation and test."""
HEADER = ("file", "part")


def split(
    labels: NDArray[np.bool_],
    groups: Sequence[str],
    shares: Sequence[float] = SHARES,
    seed: int = 0,
) -> tuple[Part, ...]:
    """Assign a part to each of N images; images of the same group stay together.

    The same seed gives the same split, in whatever order the images are.

    Args:
        labels: (N, K).
        groups: The group of each image.
        shares: Shares of train, validation and test.
        seed: Seed of the order of equal groups.

    Raises:
        DataSetError: Shares are not three positive numbers with the sum 1, or there are fewer than
            three groups.
    """
    if len(shares) != len(Part):
        raise DataSetError(f"{len(shares)} shares were given; give three, such as 0.6,0.15,0.25")
    indices = stratify(labels, groups, shares, seed)
    return tuple(list(Part)[index] for index in indices)


def stratify(
    labels: NDArray[np.bool_], groups: Sequence[str], shares: Sequence[float], seed: int
) -> NDArray[np.int64]:
    """Return, for each of N images, the index in `shares` of the portion that it is assigned to.

    The class with the fewest remaining images is handled first, its largest groups first. A group
    goes to the portion that lacks the largest share of that class; if several do, to the one that
    lacks the largest share of its images. Equal groups are taken in random order.

    Raises:
        DataSetError: Shares are not positive or do not have the sum 1, or there are fewer groups
            than shares.
    """
    members = _group_indices(groups, len(labels))
    _check_shares(shares, len(set(groups)))
    sums = np.zeros((members.max(initial=-1) + 1, labels.shape[1] + 1))
    np.add.at(sums, members, np.column_stack([labels, np.ones(len(labels))]))
    # The last column, "is an image", decides about groups that show no class.
    portion_of = np.full(len(sums), -1)
    wanted = np.outer(shares, sums.sum(axis=0))
    lacking = wanted.copy()
    order = np.random.default_rng(seed).permutation(len(sums))
    while (left := order[portion_of[order] < 0]).size:
        rarest = _rarest_class(sums[left].sum(axis=0))
        showing = left[sums[left, rarest] > 0]
        for group in showing[np.argsort(-sums[showing, rarest], kind="stable")]:
            by_class, by_images = (lacking[:, each] / wanted[:, each] for each in (rarest, -1))
            portion_of[group] = np.lexsort((-by_images, -by_class))[0]
            lacking[portion_of[group]] -= sums[group]
    return portion_of[members]


def split_in_two(
    labels: NDArray[np.bool_], groups: Sequence[str], seed: int = 0, share: float = 0.5
) -> NDArray[np.bool_]:
    """Split images into two stratified portions; return (N,) bool, True for the second.

    `share` is the share of the second portion.

    Raises:
        DataSetError: As in `stratify`.
    """
    is_second: NDArray[np.bool_] = stratify(labels, groups, (1 - share, share), seed) == 1
    return is_second


def complete_split(
    data: DataSet, groups: Sequence[str], seed: int = 0, shares: Sequence[float] = SHARES
) -> tuple[Part, ...]:
    """Return the part of each image: the set's own if it has parts, else a new split.

    A set without parts, or with the part train alone, is split anew. Otherwise a missing part is
    created from another: test from half of validation, validation from train.

    Raises:
        DataSetError: As in `split`; or some images have no part, or none is for training.
    """
    present = set(data.parts)
    if present in ({None}, {Part.TRAIN}):
        return split(data.labels, groups, shares, seed)
    if None in present or Part.TRAIN not in present:
        lacking = "a part" if None in present else "the part train"
        count = sum(part is None for part in data.parts) or len(data)
        raise DataSetError(
            f"{count} of {len(data)} images lack {lacking}; add it, or create a new split"
        )
    if Part.TEST not in present:
        return _move_share(data, groups, seed, Part.VALIDATION, Part.TEST, 0.5)
    if Part.VALIDATION not in present:
        share = shares[1] / (shares[0] + shares[1])
        return _move_share(data, groups, seed, Part.TRAIN, Part.VALIDATION, share)
    return tuple(part for part in data.parts if part is not None)


def write_split(path: Path, names: Sequence[str], parts: Sequence[Part]) -> None:
    """Write a split file (CSV) with the columns file and part, which `read_split` reads."""
    write_csv(path, HEADER, zip(names, parts, strict=True))


def read_split(path: Path, names: Sequence[str]) -> tuple[Part, ...]:
    """Return the part of each of `names`, in their order, from a split file.

    Raises:
        DataSetError: As in `read_parts`, or a name has no part.
    """
    parts = read_parts(path)
    missing = [name for name in names if name not in parts]
    if missing:
        raise DataSetError(
            f"{printable(path)}: {len(missing)} images have no part, "
            f"{printable(missing[0])} is the first; create a new split"
        )
    return tuple(parts[name] for name in names)


def read_parts(path: Path) -> dict[str, Part]:
    """Return the part of each file name in a split file.

    Raises:
        DataSetError: The file is not a split file, or contains a name twice; the message names file
            and line.
    """
    header, *rows = read_csv(path)
    problems = Problems()
    if tuple(header[1]) != HEADER:
        problems.add(path, header[0], "must be the header file,part; give a split file")
    parts: dict[str, Part] = {}
    for line, cells in rows:
        if len(cells) != len(HEADER) or cells[1] not in set(Part) or cells[0] in parts:
            problems.add(path, line, f"must be a new file and one of {', '.join(Part)}")
        else:
            parts[cells[0]] = Part(cells[1])
    problems.raise_any()
    return parts


def split_digest(names: Sequence[str], parts: Sequence[Part]) -> str:
    """Return a hex SHA-256 over names and their parts, whatever their order."""
    pairs = sorted((name, str(part)) for name, part in zip(names, parts, strict=True))
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()


def _group_indices(groups: Sequence[str], images: int) -> NDArray[np.int64]:
    """Return the index of each image's group, in the order of the groups' names."""
    if len(groups) != images:
        raise DataSetError(f"{len(groups)} groups for {images} images; give one for each image")
    return np.unique(np.array(groups, dtype=np.str_), return_inverse=True)[1].astype(np.int64)


def _check_shares(shares: Sequence[float], groups: int) -> None:
    if not (all(share > 0 for share in shares) and np.isclose(sum(shares), 1)):
        text = ", ".join(f"{share:g}" for share in shares)
        raise DataSetError(f"the shares {text} must be positive and have the sum 1")
    if groups < len(shares):
        raise DataSetError(
            f"{groups} groups cannot be split into {len(shares)} parts; give more images or "
            "smaller groups"
        )


def _rarest_class(left: NDArray[np.float64]) -> int:
    """Return the column with the fewest images left, but more than none."""
    return int(np.argmin(np.where(left > 0, left, np.inf)))


def _move_share(
    data: DataSet, groups: Sequence[str], seed: int, source: Part, target: Part, share: float
) -> tuple[Part, ...]:
    """Return the set's own parts, with a stratified share of `source` moved to `target`."""
    parts = [part for part in data.parts if part is not None]
    members = [index for index, part in enumerate(parts) if part is source]
    moves = split_in_two(data.labels[members], [groups[index] for index in members], seed, share)
    for index in np.array(members)[moves]:
        parts[index] = target
    return tuple(parts)
