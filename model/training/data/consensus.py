"""Labels that volunteers agree on, their agreement by class, and the images they disagree about."""

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
    """The votes of volunteers on N images and K classes.

    Attributes:
        classes: Codes of the K classes.
        images: File names of the N images.
        votes: (N, K) int, the number of volunteers who chose a class.
        volunteers: (N,) int, the number of volunteers who saw an image.
        threshold: A class is a label if at least this share of the volunteers chose it.
        waiting: Images that too few volunteers have seen, with the number who did.
        unknown: Choices that are not classes, with the number of times they were chosen.
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
        """The share (0 to 1) of an image's volunteers who chose a class: (N, K)."""
        return self.votes / self.volunteers[:, None]

    @property
    def labels(self) -> NDArray[np.bool_]:
        """Whether enough volunteers chose a class: (N, K) bool."""
        return self.shares >= self.threshold

    def kappa(self) -> NDArray[np.float64]:
        """Return Fleiss' kappa of each class (K,): 1 for perfect, 0 for chance agreement.

        Each class is rated separately, as chosen or not. Fleiss 1971, "Measuring nominal scale
        agreement among many raters": the agreement on an image is the share of pairs of volunteers
        who say the same; its mean over images is used even if their numbers of volunteers differ.
        NaN for a class that none or all chose, and if no image has two volunteers.
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
        """Return the images, most disputed first, with the number of labels in dispute.

        That number is the sum over classes of the share of volunteers in the minority: the number
        of labels that a volunteer would change on average.
        """
        minority = np.minimum(self.shares, 1 - self.shares).sum(axis=1)
        order = np.argsort(-minority, kind="stable")
        return [(self.images[index], float(minority[index])) for index in order]


def compute_consensus(
    classifications: Iterable[VolunteerClassification],
    classes: ClassList | None = None,
    retirement: int = 5,
    threshold: float = 0.5,
) -> Consensus:
    """Count one vote for each volunteer and image: the volunteer's last.

    Args:
        classifications: What volunteers chose.
        classes: The classes, MERNet's by default; choices name them by code or name, in any case
            and punctuation.
        retirement: Number of volunteers who must have seen an image; until then it waits.
        threshold: Share of an image's volunteers that makes a class a label.

    Raises:
        DataSetError: `retirement` is below 1, `threshold` is not in (0, 1], or no image has enough
            volunteers.
    """
    if retirement < 1 or not 0 < threshold <= 1:
        raise DataSetError("retirement must be at least 1, threshold above 0 and at most 1")
    known_classes = classes or ClassList.mernet({})
    votes = _last_votes(classifications)
    volunteers = Counter(image for image, _ in votes)
    retired = sorted(image for image, count in volunteers.items() if count >= retirement)
    if not retired:
        most = max(volunteers.values(), default=0)
        raise DataSetError(
            f"no image has {retirement} volunteers, the most is {most}; require fewer"
        )
    rows = {image: row for row, image in enumerate(retired)}
    counts = np.zeros((len(retired), len(known_classes.codes)), dtype=np.int64)
    unknown: Counter[str] = Counter()
    for (image, _), choices in votes.items():
        indices = {choice: known_classes.index_of(choice) for choice in choices}
        unknown.update(choice for choice, index in indices.items() if index is None)
        if image in rows:
            chosen = {index for index in indices.values() if index is not None}
            counts[rows[image], list(chosen)] += 1
    return Consensus(
        classes=known_classes.codes,
        images=tuple(retired),
        votes=counts,
        volunteers=np.array([volunteers[image] for image in retired]),
        threshold=threshold,
        waiting={image: count for image, count in volunteers.items() if count < retirement},
        unknown=dict(unknown.most_common()),
    )


def write_label_file(path: Path, result: Consensus) -> None:
    """Write a label file (CSV) that `load_data_set` reads without the shares and volunteers.

    The columns are file, a 0 or 1 for each class, the share for each class, number of volunteers.
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
    """Return the last choices of each volunteer on each image, by (image, volunteer)."""
    in_order = sorted(classifications, key=lambda each: each.order)
    return {(each.image, each.volunteer): each.choices for each in in_order}
