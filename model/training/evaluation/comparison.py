"""Compares the main head with the control: differences with intervals, bootstrapped by group."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mernet.model.training.evaluation.metrics import CONFIDENCE, MIN_EVIDENCE, Labels, Probabilities

TAILS = (50 - 50 * CONFIDENCE, 50 + 50 * CONFIDENCE)
"""Percentiles that are the bounds of an interval."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95% bootstrap interval.

    The interval is None if too few groups of images show the class; the value is None if it is
    undefined.
    """

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """A measure of both heads and their difference, main minus control.

    `verdict` is None if there is no interval.
    """

    main: Estimate
    control: Estimate
    difference: Estimate
    verdict: str | None


@dataclass(frozen=True, slots=True)
class HeadComparison:
    """The comparison of both heads' calibrated probabilities on the same images.

    Attributes:
        groups: Number of groups of images.
        resamples: Number of bootstrap resamples.
        average_precision: The difference for each class.
        mean_average_precision: The difference of the mean over the classes that at least 10 groups
            show; only those occur in every resample.
        log_loss: The difference of the log-loss.
    """

    groups: int
    resamples: int
    average_precision: tuple[Difference, ...]
    mean_average_precision: Difference
    log_loss: Difference


@dataclass(frozen=True, slots=True, eq=False)
class ProbabilityRanking:
    """Images in descending order of probability for each class, as average precision needs them.

    Attributes:
        order: (N, K), indices of the images.
        truth: (N, K), their labels in that order.
        ends: (N, K), the position of the last image with the same probability.
    """

    order: NDArray[np.intp]
    truth: Labels
    ends: NDArray[np.intp]

    @classmethod
    def of(cls, truth: Labels, probabilities: Probabilities) -> Self:
        """Rank truth (N, K) by probabilities (N, K)."""
        order = np.argsort(-probabilities, axis=0, kind="stable")
        ranked = np.take_along_axis(probabilities, order, axis=0)
        last = len(ranked) - 1
        is_end = np.vstack([ranked[1:] != ranked[:-1], np.ones((1, ranked.shape[1]), bool)])
        positions = np.where(is_end, np.arange(len(ranked))[:, None], last)
        ends = np.minimum.accumulate(positions[::-1], axis=0)[::-1]
        return cls(order, np.take_along_axis(truth, order, axis=0), ends)

    def average_precision(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return average precision (K,) with weights (N,) on the images; NaN without a positive.

        scikit-learn's function gives the same values for one class per call, but is too slow for a
        thousand resamples.
        """
        seen = weights[self.order]
        right = seen * self.truth
        everything = np.cumsum(seen, axis=0)
        precision = np.cumsum(right, axis=0) / np.where(everything > 0, everything, 1)
        at_threshold = np.take_along_axis(precision, self.ends, axis=0)
        positives = right.sum(axis=0)
        total = (right * at_threshold).sum(axis=0)
        return np.asarray(total / np.where(positives > 0, positives, np.nan))


@dataclass(frozen=True, slots=True, eq=False)
class _HeadPair:
    """Both heads on the same images.

    Attributes:
        rankings: Of main and control.
        losses: Log-losses (N,) of main and control.
        group_of: (N,), the index of each image's group.
        has_evidence: (K,) bool, whether enough groups show the class.
    """

    rankings: tuple[ProbabilityRanking, ProbabilityRanking]
    losses: tuple[NDArray[np.float64], NDArray[np.float64]]
    group_of: NDArray[np.intp]
    has_evidence: Labels

    def measure(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return main, control and difference (K + 2, 3) with weights (N,) on the images.

        The rows are the average precision of each class, their mean, and the log-loss.
        """
        precision = np.column_stack([each.average_precision(weights) for each in self.rankings])
        chosen = precision[self.has_evidence]
        mean = chosen.mean(axis=0) if len(chosen) else (np.nan, np.nan)
        losses = [np.average(each, weights=weights) for each in self.losses]
        both = np.vstack([precision, mean, losses])
        return np.column_stack([both, both[:, 0] - both[:, 1]])

    def bounds(self, resamples: int, seed: int) -> NDArray[np.float64]:
        """Return interval bounds (2, K + 2, 3) of what `measure` returns; NaN without evidence."""
        random = np.random.default_rng(seed)
        groups = self.group_of.max() + 1
        draws = (random.integers(groups, size=groups) for _ in range(resamples))
        counts = (np.bincount(draw, minlength=groups).astype(np.float64) for draw in draws)
        samples = np.array([self.measure(count[self.group_of]) for count in counts])
        enough = np.array([*self.has_evidence, self.has_evidence.any(), groups >= MIN_EVIDENCE])
        bounds = np.full((2, *samples.shape[1:]), np.nan)
        # A class of 10 groups is absent from fewer than one resample in ten thousand.
        bounds[:, enough] = np.nanpercentile(samples[:, enough], TAILS, axis=0)
        return bounds


def compare(
    truth: Labels,
    main: Probabilities,
    control: Probabilities,
    groups: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    name: str = "chain",
) -> HeadComparison:
    """Compare two heads by average precision and log-loss.

    Groups are drawn with replacement, since images of one group are alike. Intervals are
    percentiles; a class has one if at least 10 groups show it. The draws are the same for both
    heads and depend on the seed alone.

    Args:
        truth: (N, K).
        main: (N, K), probabilities of the main head.
        control: (N, K), probabilities of the control.
        groups: The group of each image; by default each image is a group of its own.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.
        name: Name of the main head, for the verdicts.
    """
    group_of = np.unique(groups or range(len(truth)), return_inverse=True)[1]
    showing = np.array([len(np.unique(group_of[shown])) for shown in truth.T])
    pair = _HeadPair(
        (ProbabilityRanking.of(truth, main), ProbabilityRanking.of(truth, control)),
        (image_losses(truth, main), image_losses(truth, control)),
        group_of,
        showing >= MIN_EVIDENCE,
    )
    values = pair.measure(np.ones(len(truth)))
    bounds = pair.bounds(resamples, seed).swapaxes(0, 1)
    tie = f"no difference visible in these {len(truth):,} images"
    verdicts = [("control better", tie, f"{name} better")] * len(values)
    verdicts[-1] = verdicts[-1][::-1]  # a lower log-loss is better
    *by_class, mean, loss = map(_build_difference, values, bounds, verdicts)
    return HeadComparison(int(group_of.max()) + 1, resamples, tuple(by_class), mean, loss)


def image_losses(truth: Labels, probabilities: Probabilities) -> NDArray[np.float64]:
    """Return the cross-entropy (N,) in nats, averaged over classes.

    Probabilities are clipped as in scikit-learn.
    """
    limit = np.finfo(np.float64).eps
    given = np.clip(np.where(truth, probabilities, 1 - probabilities), limit, 1 - limit)
    return np.asarray(-np.log(given).mean(axis=1))


def _build_difference(
    values: NDArray[np.float64], bounds: NDArray[np.float64], verdicts: tuple[str, str, str]
) -> Difference:
    """Build a difference from values (3,) and bounds (2, 3).

    `verdicts` are for a difference below, around and above 0.
    """
    main, control, difference = (
        Estimate(*(None if np.isnan(number) else float(number) for number in numbers))
        for numbers in zip(values, *bounds, strict=True)
    )
    if difference.low is None or difference.high is None:
        return Difference(main, control, difference, None)
    side = int(difference.low > 0) - int(difference.high < 0)
    return Difference(main, control, difference, verdicts[side + 1])
