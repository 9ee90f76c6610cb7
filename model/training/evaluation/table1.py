"""Table 1 of the MERNet abstract, and its comparison with an evaluation."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from statistics import fmean

from mernet.model.classes import ClassGroup
from mernet.model.training.evaluation.evaluate import ClassScores, Evaluation

THRESHOLD = 0.9
"""The threshold of Table 1's precision and recall."""


@dataclass(frozen=True, slots=True)
class Measures:
    """ECE, and precision and recall above 0.9.

    Precision and recall are 0 if nothing was published, as printed in Table 1.
    """

    ece: float
    precision: float
    recall: float


@dataclass(frozen=True, slots=True)
class PublishedClass:
    """One class of Table 1; `percent` is of 3,004 images."""

    position: int
    code: str
    name: str
    group: ClassGroup
    count: int
    percent: float
    before: Measures
    after: Measures


@dataclass(frozen=True, slots=True)
class Table1Comparison:
    """The figures of one class in Table 1 and in an evaluation.

    Our ECE has 15 bins of equal width; the number of bins of the published one is unknown.
    """

    published: PublishedClass
    images: int
    percent: float
    insufficient: bool
    before: Measures
    after: Measures


@dataclass(frozen=True, slots=True)
class Means:
    """Means of `Measures` over classes, and the number of classes whose recall is 0."""

    ece: float
    precision: float
    recall: float
    without_recall: int


@cache
def table_1() -> tuple[PublishedClass, ...]:
    """Return the published figures in chain order."""
    text = (
        files("mernet.model.training.evaluation").joinpath("table1.csv").read_text(encoding="utf-8")
    )
    return tuple(_parse_row(fields) for fields in csv.DictReader(text.splitlines()))


def means(figures: Sequence[Measures]) -> Means:
    """Return means over classes (at least one); a class with nothing published counts as 0."""
    return Means(
        fmean(each.ece for each in figures),
        fmean(each.precision for each in figures),
        fmean(each.recall for each in figures),
        sum(each.recall == 0 for each in figures),
    )


def compare_with_table_1(evaluation: Evaluation) -> tuple[Table1Comparison, ...]:
    """Return the main head's figures and those of Table 1, in its order.

    Empty if a class is not one of MERNet's or the threshold is not Table 1's. An undefined
    precision or recall is 0, as in Table 1.
    """
    published = {row.code: row for row in table_1()}
    same_classes = all(each.code in published for each in evaluation.classes)
    if not same_classes or evaluation.threshold != THRESHOLD:
        return ()
    stages = (evaluation.main.before.classes, evaluation.main.after.classes)
    comparisons = [
        Table1Comparison(
            published[each.code],
            each.positives,
            100 * each.prevalence,
            each.insufficient,
            _measures(before),
            _measures(after),
        )
        for each, before, after in zip(evaluation.classes, *stages, strict=True)
    ]
    return tuple(sorted(comparisons, key=lambda each: each.published.position))


def _measures(scores: ClassScores) -> Measures:
    return Measures(scores.ece.bins_15, scores.precision.value or 0.0, scores.recall.value or 0.0)


def _parse_row(fields: dict[str, str]) -> PublishedClass:
    before, after = (
        Measures(
            *(float(fields[f"{measure}_{stage}"]) for measure in ("ece", "precision", "recall"))
        )
        for stage in ("before", "after")
    )
    return PublishedClass(
        int(fields["chain_position"]),
        fields["code"],
        fields["name"],
        ClassGroup(fields["group"]),
        int(fields["count"]),
        float(fields["percent"]),
        before,
        after,
    )
