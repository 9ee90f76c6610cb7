"""Metrics of one class's probabilities; an undefined value is None."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score

CONFIDENCE = 0.95

# The exact interval of 0 of 10 extends to 0.31: a share of fewer cases says almost nothing.
MIN_EVIDENCE = 10

# The standard error of `expected_ece` is then below a tenth of its value.
SIMULATIONS = 200

Labels = NDArray[np.bool_]
Probabilities = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Share:
    """hits of total, with the exact 95% interval.

    `value`, `low` and `high` are None if total is 0; `insufficient` marks a total below 10.
    """

    hits: int
    total: int
    value: float | None
    low: float | None
    high: float | None
    insufficient: bool


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """Expected calibration error with 10 and 15 bins of equal width, and 15 of equal mass."""

    bins_10: float
    bins_15: float
    equal_mass_15: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """Number of images, mean probability and share of positives for each bin of probabilities.

    The latter two are None for a bin without images.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    mean_probability: tuple[float | None, ...]
    share_positive: tuple[float | None, ...]


def share(hits: int, total: int) -> Share:
    """Return hits of total with the interval of Clopper and Pearson (1934)."""
    if total == 0:
        return Share(0, 0, None, None, None, insufficient=True)
    interval = binomtest(hits, total).proportion_ci(CONFIDENCE, method="exact")
    low, high = float(interval.low), float(interval.high)
    return Share(hits, total, hits / total, low, high, insufficient=total < MIN_EVIDENCE)


def above_threshold(probabilities: Probabilities, threshold: float) -> Labels:
    """Return which probabilities exceed the threshold, compared as float32 like in the database."""
    return np.asarray(probabilities.astype(np.float32) > np.float32(threshold))


def average_precision(truth: Labels, probabilities: Probabilities) -> float | None:
    """Return the step-wise area under the precision-recall curve; None without a positive."""
    if not truth.any():
        return None
    return float(average_precision_score(truth, probabilities))


def equal_width(bins: int) -> NDArray[np.float64]:
    """Return edges (bins + 1,) of bins of equal width on [0, 1], as in Guo et al. (2017)."""
    return np.linspace(0, 1, bins + 1)


def equal_mass(probabilities: Probabilities, bins: int) -> NDArray[np.float64]:
    """Return edges (bins + 1,) of bins with equal numbers of images, as in Nixon et al. (2019).

    Equal probabilities share a bin, so that bins may be unequal or empty.
    """
    return np.quantile(probabilities, np.linspace(0, 1, bins + 1))


def ece(truth: Labels, probabilities: Probabilities, edges: NDArray[np.float64]) -> float:
    """Return the expected calibration error of the event itself, not of the more likely answer.

    The sum over bins of |mean probability - share of positives|, weighted by the bins' shares of
    the images (Guo et al. 2017). A bin includes its upper edge; 0 belongs to the first bin.
    torchmetrics' binary_calibration_error differs only at the edges: there a bin includes its lower
    edge, and 1 has a bin of its own.
    """
    return float(_calibration_gap(truth, probabilities, edges))


def expected_ece(probabilities: Probabilities, edges: NDArray[np.float64], seed: int = 0) -> float:
    """Return the mean ECE of a perfectly calibrated model, by simulation.

    Labels are drawn from the probabilities themselves. The result is not 0, since each bin has few
    images; it is the floor to which an ECE should be compared.
    """
    random = np.random.default_rng(seed)
    truth = random.random((SIMULATIONS, len(probabilities))) < probabilities
    return float(_calibration_gap(truth, probabilities, edges).mean())


def calibration_error(truth: Labels, probabilities: Probabilities) -> CalibrationError:
    """Return the ECE of truth (N,) and probabilities (N,) with the three binnings."""
    return CalibrationError(*(ece(truth, probabilities, e) for e in _binnings(probabilities)))


def calibration_floor(probabilities: Probabilities, seed: int) -> CalibrationError:
    """Return `expected_ece` of probabilities (N,) with the three binnings."""
    floors = (expected_ece(probabilities, edges, seed) for edges in _binnings(probabilities))
    return CalibrationError(*floors)


def reliability(truth: Labels, probabilities: Probabilities, bins: int = 10) -> Reliability:
    """Compute a reliability diagram with bins of equal width."""
    edges = equal_width(bins)
    index = _bin_index(probabilities, edges)
    counts = np.bincount(index, minlength=bins)
    sums = np.bincount(index, weights=probabilities, minlength=bins)
    positives = np.bincount(index, weights=truth, minlength=bins)
    return Reliability(
        tuple(edges.tolist()),
        tuple(counts.tolist()),
        _ratios(sums, counts),
        _ratios(positives, counts),
    )


def _binnings(probabilities: Probabilities) -> tuple[NDArray[np.float64], ...]:
    return equal_width(10), equal_width(15), equal_mass(probabilities, 15)


def _calibration_gap(
    truth: Labels, probabilities: Probabilities, edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the ECE for truth (..., N).

    A bin's gap times its weight is |sum of p - y over the bin| / N.
    """
    members = np.eye(len(edges) - 1)[_bin_index(probabilities, edges)]
    gaps = np.abs((probabilities - truth) @ members)
    return np.asarray(gaps.sum(axis=-1) / len(probabilities))


def _bin_index(probabilities: Probabilities, edges: NDArray[np.float64]) -> NDArray[np.intp]:
    return np.searchsorted(edges[1:-1], probabilities)


def _ratios(sums: NDArray[np.number], counts: NDArray[np.number]) -> tuple[float | None, ...]:
    pairs = zip(sums.tolist(), counts.tolist(), strict=True)
    return tuple(total / count if count else None for total, count in pairs)
