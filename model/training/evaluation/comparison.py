"""The main head against the control: differences with intervals, resampled by group."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mernet.model.training.evaluation.metrics import CONFIDENCE, MIN_EVIDENCE, Labels, Probabilities

TAILS = (50 - 50 * CONFIDENCE, 50 + 50 * CONFIDENCE)
"""Percentiles that bound an interval."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95% bootstrap interval.

    The interval is None where too few groups say anything of it, the value where it is undefined.
    """

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """A measure of both heads and main minus control; no verdict where there is no interval."""

    main: Estimate
    control: Estimate
    difference: Estimate
    verdict: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Calibrated probabilities of both heads on the same images.

    `mean_average_precision` is over the classes that at least 10 groups show: those alone are in
    every resample.
    """

    groups: int
    resamples: int
    average_precision: tuple[Difference, ...]
    mean_average_precision: Difference
    log_loss: Difference


@dataclass(frozen=True, slots=True, eq=False)
class ProbabilityRanking:
    """Images in falling order of probability, class by class: what average precision needs.

    order (N, K) holds image numbers, truth (N, K) their labels in that order, ends (N, K) the place
    of the last image with the same probability.
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
        places = np.where(is_end, np.arange(len(ranked))[:, None], last)
        ends = np.minimum.accumulate(places[::-1], axis=0)[::-1]
        return cls(order, np.take_along_axis(truth, order, axis=0), ends)

    def average_precision(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Average precision (K,) with weights (N,) on the images; NaN without a positive.

        scikit-learn's gives the same for one class in a call, too slow for a thousand resamples.
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
class _Pair:
    """Both heads on the same images; the number of each image's group (N,); classes with evidence.

    `rankings` and `losses` (N,) are of main and control; `judged` (K,) bool marks the classes that
    enough groups show.
    """

    rankings: tuple[ProbabilityRanking, ProbabilityRanking]
    losses: tuple[NDArray[np.float64], NDArray[np.float64]]
    group_of: NDArray[np.intp]
    judged: Labels

    def measure(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Main, control and difference (K + 2, 3): average precisions, their mean, log-loss."""
        precision = np.column_stack([each.average_precision(weights) for each in self.rankings])
        mean = precision[self.judged].mean(axis=0) if self.judged.any() else (np.nan, np.nan)
        losses = [np.average(each, weights=weights) for each in self.losses]
        both = np.vstack([precision, mean, losses])
        return np.column_stack([both, both[:, 0] - both[:, 1]])

    def bounds(self, resamples: int, seed: int) -> NDArray[np.float64]:
        """Ends (2, K + 2, 3) of the intervals of what `measure` gives, NaN without evidence."""
        random = np.random.default_rng(seed)
        groups = self.group_of.max() + 1
        draws = (random.integers(groups, size=groups) for _ in range(resamples))
        counts = (np.bincount(draw, minlength=groups).astype(np.float64) for draw in draws)
        samples = np.array([self.measure(count[self.group_of]) for count in counts])
        enough = np.array([*self.judged, self.judged.any(), groups >= MIN_EVIDENCE])
        bounds = np.full((2, *samples.shape[1:]), np.nan)
        # A class of 10 groups is missing from fewer than one resample in ten thousand.
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
) -> Comparison:
    """Compare two heads, all (N, K), by average precision and log-loss; `name` is the main one's.

    Groups (N names; by default each image is its own) are drawn with replacement, since images of
    one group are alike. Intervals are percentiles; a class has one where at least 10 groups show
    it. The draws are the same for both heads and depend on the seed alone.
    """
    group_of = np.unique(groups or range(len(truth)), return_inverse=True)[1]
    showing = np.array([len(np.unique(group_of[shown])) for shown in truth.T])
    pair = _Pair(
        (ProbabilityRanking.of(truth, main), ProbabilityRanking.of(truth, control)),
        (image_losses(truth, main), image_losses(truth, control)),
        group_of,
        showing >= MIN_EVIDENCE,
    )
    values = pair.measure(np.ones(len(truth)))
    bounds = pair.bounds(resamples, seed).swapaxes(0, 1)
    tie = f"no difference that these {len(truth):,} images can show"
    words = [("control better", tie, f"{name} better")] * len(values)
    words[-1] = words[-1][::-1]  # the lower log-loss is the better one
    *by_class, mean, loss = map(_difference, values, bounds, words)
    return Comparison(int(group_of.max()) + 1, resamples, tuple(by_class), mean, loss)


def image_losses(truth: Labels, probabilities: Probabilities) -> NDArray[np.float64]:
    """Cross-entropy (N,) in nats, mean over classes; probabilities clipped as scikit-learn does."""
    limit = np.finfo(np.float64).eps
    given = np.clip(np.where(truth, probabilities, 1 - probabilities), limit, 1 - limit)
    return np.asarray(-np.log(given).mean(axis=1))


def _difference(
    values: NDArray[np.float64], bounds: NDArray[np.float64], words: tuple[str, str, str]
) -> Difference:
    """From values (3,), bounds (2, 3) and the words for a difference below, around and above 0."""
    main, control, difference = (
        Estimate(*(None if np.isnan(number) else float(number) for number in numbers))
        for numbers in zip(values, *bounds, strict=True)
    )
    if difference.low is None or difference.high is None:
        return Difference(main, control, difference, None)
    side = int(difference.low > 0) - int(difference.high < 0)
    return Difference(main, control, difference, words[side + 1])
