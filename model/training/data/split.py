"""Split: which images are learnt from, which calibrate and stop, which judge.

Iterative stratification of multi-label data (Sechidis, Tsoumakas, Vlahavas 2011, "On the
Stratification of Multi-Label Data"), moved from images to groups of images that must not be
parted: pictures of one place taken in one go are near-duplicates. One thing differs: the part that
still wants most of a class is found by share, not by count, so that each part gets one group of a
rare class before any gets its second.
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

SHARES = (0.6, 0.15, 0.25)
"""The abstract's: train, validation, test."""
HEADER = ("file", "part")


def split(
    labels: NDArray[np.bool_],
    groups: Sequence[str],
    shares: Sequence[float] = SHARES,
    seed: int = 0,
) -> tuple[Part, ...]:
    """A part for each of N images with labels (N, K); images with equal `groups` stay together.

    `shares` are those of train, validation and test. The same seed gives the same split, in
    whatever order the images come. Raises DataSetError where shares are not three positive numbers
    that add up to 1, or there are fewer than three groups.
    """
    if len(shares) != len(Part):
        raise DataSetError(f"{len(shares)} shares were given; give three, as in 0.6,0.15,0.25")
    places = stratify(labels, groups, shares, seed)
    return tuple(list(Part)[place] for place in places)


def stratify(
    labels: NDArray[np.bool_], groups: Sequence[str], shares: Sequence[float], seed: int
) -> NDArray[np.int64]:
    """The place (from 0) in `shares` of the portion that each of N images goes to.

    The class with the fewest images left comes first, of it the largest groups first. A group goes
    to the portion that lacks the largest share of that class; of equals, to the one that lacks the
    largest share of its images. Equal groups come in a random order. Raises DataSetError where
    shares are not positive or do not add up to 1, or there are fewer groups than shares.
    """
    members = _members(groups, len(labels))
    _check(shares, len(set(groups)))
    sums = np.zeros((members.max(initial=-1) + 1, labels.shape[1] + 1))
    np.add.at(sums, members, np.column_stack([labels, np.ones(len(labels))]))
    # The last column, "is an image", is what groups that show no class are placed by.
    goes_to = np.full(len(sums), -1)
    wanted = np.outer(shares, sums.sum(axis=0))
    lacking = wanted.copy()
    order = np.random.default_rng(seed).permutation(len(sums))
    while (left := order[goes_to[order] < 0]).size:
        rarest = _rarest(sums[left].sum(axis=0))
        showing = left[sums[left, rarest] > 0]
        for group in showing[np.argsort(-sums[showing, rarest], kind="stable")]:
            by_class, by_images = (lacking[:, each] / wanted[:, each] for each in (rarest, -1))
            goes_to[group] = np.lexsort((-by_images, -by_class))[0]
            lacking[goes_to[group]] -= sums[group]
    return goes_to[members]


def split_in_two(
    labels: NDArray[np.bool_], groups: Sequence[str], seed: int = 0, share: float = 0.5
) -> NDArray[np.bool_]:
    """(N,) bool: True for the images that go to the second of two stratified portions.

    `share` is the second portion's. Raises DataSetError as `stratify` does.
    """
    is_second: NDArray[np.bool_] = stratify(labels, groups, (1 - share, share), seed) == 1
    return is_second


def complete_split(
    data: DataSet, groups: Sequence[str], seed: int = 0, shares: Sequence[float] = SHARES
) -> tuple[Part, ...]:
    """A part for each image: the set's own where it has them, else those of `split`.

    A set with no parts, or with a train part only, is split. Of others what is missing is made: a
    test part from half of the validation part, a validation part from the train part. Raises
    DataSetError as `split` does, and where only some images have a part, or none is for training.
    """
    present = set(data.parts)
    if present in ({None}, {Part.TRAIN}):
        return split(data.labels, groups, shares, seed)
    if None in present or Part.TRAIN not in present:
        lacking = "a part" if None in present else "the part train"
        count = sum(part is None for part in data.parts) or len(data)
        raise DataSetError(f"{count} of {len(data)} images lack {lacking}; give it, or split anew")
    if Part.TEST not in present:
        return _moved(data, groups, seed, Part.VALIDATION, Part.TEST, 0.5)
    if Part.VALIDATION not in present:
        share = shares[1] / (shares[0] + shares[1])
        return _moved(data, groups, seed, Part.TRAIN, Part.VALIDATION, share)
    return tuple(part for part in data.parts if part is not None)


def write_split(path: Path, names: Sequence[str], parts: Sequence[Part]) -> None:
    """Write a split as CSV with the columns file and part; read_split reads it."""
    write_csv(path, HEADER, zip(names, parts, strict=True))


def read_split(path: Path, names: Sequence[str]) -> tuple[Part, ...]:
    """The part that a split file gives each of `names`, in their order.

    Raises DataSetError as `read_parts` does, and for names without a part.
    """
    parts = read_parts(path)
    missing = [name for name in names if name not in parts]
    if missing:
        raise DataSetError(
            f"{path}: {len(missing)} images have no part, {missing[0]} is the first; split anew"
        )
    return tuple(parts[name] for name in names)


def read_parts(path: Path) -> dict[str, Part]:
    """The part of each file name in a split file.

    Raises DataSetError, with file and line where there is one, for a file that write_split did not
    write, and a name that comes twice.
    """
    header, *rows = read_csv(path)
    problems = Problems()
    if tuple(header[1]) != HEADER:
        problems.add(path, header[0], "must be the header file,part; give a file of `data split`")
    parts: dict[str, Part] = {}
    for line, cells in rows:
        if len(cells) != len(HEADER) or cells[1] not in set(Part) or cells[0] in parts:
            problems.add(path, line, f"must be a new file and one of {', '.join(Part)}")
        else:
            parts[cells[0]] = Part(cells[1])
    problems.raise_any()
    return parts


def split_digest(names: Sequence[str], parts: Sequence[Part]) -> str:
    """Hex SHA-256 of which name is in which part, whatever their order."""
    pairs = sorted((name, str(part)) for name, part in zip(names, parts, strict=True))
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()


def _members(groups: Sequence[str], images: int) -> NDArray[np.int64]:
    """For each image the number of its group, by the order of the groups' names."""
    if len(groups) != images:
        raise DataSetError(f"{len(groups)} groups for {images} images; give one for each image")
    return np.unique(np.array(groups, dtype=np.str_), return_inverse=True)[1].astype(np.int64)


def _check(shares: Sequence[float], groups: int) -> None:
    if not (all(share > 0 for share in shares) and np.isclose(sum(shares), 1)):
        text = ", ".join(f"{share:g}" for share in shares)
        raise DataSetError(f"the shares {text} must be positive and add up to 1")
    if groups < len(shares):
        raise DataSetError(
            f"{groups} groups cannot make {len(shares)} parts; give more images, or finer groups"
        )


def _rarest(left: NDArray[np.float64]) -> int:
    """The column with the fewest images left, but more than none."""
    return int(np.argmin(np.where(left > 0, left, np.inf)))


def _moved(
    data: DataSet, groups: Sequence[str], seed: int, source: Part, target: Part, share: float
) -> tuple[Part, ...]:
    """The set's own parts, but for a stratified share of `source` that goes to `target`."""
    parts = [part for part in data.parts if part is not None]
    members = [place for place, part in enumerate(parts) if part is source]
    moves = split_in_two(data.labels[members], [groups[place] for place in members], seed, share)
    for place in np.array(members)[moves]:
        parts[place] = target
    return tuple(parts)
