"""Labels that volunteers agree on, how far they agree, and which images they dispute."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mernet.model.errors import DataSetError
from mernet.model.training.data.class_list import ClassList
from mernet.model.training.data.label_files import SHARE_SUFFIX, VOLUNTEERS
from mernet.model.training.data.zooniverse import VolunteerClassification
from mernet.model.training.text_files import write_csv


@dataclass(frozen=True, slots=True, eq=False)
class Consensus:
    """What volunteers say of N images, for K classes.

    `votes` (N, K) int counts the volunteers who chose a class, `volunteers` (N,) int all that saw
    the image; a class is a label where at least `threshold` of them chose it. `waiting` are images
    that too few have seen, with their number; `unknown` are choices that are no class, with theirs.
    """

    classes: tuple[str, ...]
    images: tuple[str, ...]
    votes: NDArray[np.int64]
    volunteers: NDArray[np.int64]
    threshold: float
    waiting: Mapping[str, int]
    unknown: Mapping[str, int]

    @property
    def shares(self) -> NDArray[np.float64]:
        """(N, K): of an image's volunteers, the share (0 to 1) that chose a class."""
        return self.votes / self.volunteers[:, None]

    @property
    def labels(self) -> NDArray[np.bool_]:
        """(N, K): whether enough of them did."""
        return self.shares >= self.threshold

    def kappa(self) -> NDArray[np.float64]:
        """(K,): Fleiss' kappa of each class, chosen or not: 1 for agreement, 0 for chance.

        Fleiss 1971, "Measuring nominal scale agreement among many raters", where the agreement of
        an image is the share of pairs of volunteers who say the same; its mean over images is used
        also where their numbers of volunteers differ. NaN for a class that none or all chose, and
        where no image has two volunteers.
        """
        seen = self.volunteers > 1
        yes, all_of_them = self.votes[seen], self.volunteers[seen, None]
        no = all_of_them - yes
        if not seen.any():
            return np.full(len(self.classes), np.nan)
        agreement = ((yes * (yes - 1) + no * (no - 1)) / (all_of_them * (all_of_them - 1))).mean(0)
        chosen = yes.sum(axis=0) / all_of_them.sum()
        by_chance = chosen**2 + (1 - chosen) ** 2
        with np.errstate(invalid="ignore"):
            return np.asarray((agreement - by_chance) / (1 - by_chance))

    def disputed(self) -> list[tuple[str, float]]:
        """Images, most disputed first, each with how many of its labels a volunteer would change.

        That is the sum over classes of the share that is in the minority.
        """
        minority = np.minimum(self.shares, 1 - self.shares).sum(axis=1)
        order = np.argsort(-minority, kind="stable")
        return [(self.images[place], float(minority[place])) for place in order]


def compute_consensus(
    classifications: Iterable[VolunteerClassification],
    classes: ClassList | None = None,
    retirement: int = 5,
    threshold: float = 0.5,
) -> Consensus:
    """Count votes: one for each volunteer and image, their last.

    An image that fewer than `retirement` volunteers have seen waits. Choices are classes (MERNet's
    by default) by code or name, whatever their case and punctuation. Raises DataSetError where
    retirement is below 1, the threshold is not in (0, 1], or no image has enough volunteers.
    """
    if retirement < 1 or not 0 < threshold <= 1:
        raise DataSetError("retirement must be at least 1, threshold above 0 and at most 1")
    known = classes or ClassList.mernet({})
    votes = _last_votes(classifications)
    volunteers = Counter(image for image, _ in votes)
    retired = sorted(image for image, count in volunteers.items() if count >= retirement)
    if not retired:
        most = max(volunteers.values(), default=0)
        raise DataSetError(f"no image has {retirement} volunteers, only {most}; ask for fewer")
    rows = {image: row for row, image in enumerate(retired)}
    counts = np.zeros((len(retired), len(known.codes)), dtype=np.int64)
    unknown: Counter[str] = Counter()
    for (image, _), choices in votes.items():
        places = {choice: known.place(choice) for choice in choices}
        unknown.update(choice for choice, place in places.items() if place is None)
        if image in rows:
            counts[rows[image], [place for place in set(places.values()) if place is not None]] += 1
    return Consensus(
        classes=known.codes,
        images=tuple(retired),
        votes=counts,
        volunteers=np.array([volunteers[image] for image in retired]),
        threshold=threshold,
        waiting={image: count for image, count in volunteers.items() if count < retirement},
        unknown=dict(unknown.most_common()),
    )


def write_label_file(path: Path, result: Consensus) -> None:
    """Write CSV: file, a 0 or 1 for each class, the share for each class, number of volunteers.

    `load_data_set` reads it beside its pictures, and passes over the shares.
    """
    header = ["file", *result.classes, *(c + SHARE_SUFFIX for c in result.classes), VOLUNTEERS]
    rows = zip(
        result.images,
        result.labels.astype(int).tolist(),
        result.shares.round(4).tolist(),
        result.volunteers.tolist(),
        strict=True,
    )
    write_csv(path, header, ([file, *labels, *shares, n] for file, labels, shares, n in rows))


def _last_votes(
    classifications: Iterable[VolunteerClassification],
) -> dict[tuple[str, str], frozenset[str]]:
    """What each volunteer chose at their last look at each image."""
    in_order = sorted(classifications, key=lambda each: each.order)
    return {(each.image, each.volunteer): each.choices for each in in_order}
