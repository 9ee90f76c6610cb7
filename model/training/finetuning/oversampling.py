"""Oversampling of rare classes: images that show them are repeated within an epoch."""

import numpy as np
from numpy.typing import NDArray


def repeat_factors(labels: NDArray[np.bool_], threshold: float, cap: float) -> NDArray[np.float64]:
    """Return how often an epoch shows each image on average (N,), from labels (N, K).

    This is repeat-factor sampling: r = max(1, sqrt(threshold / f)) for a class that a share f of
    the images shows, at most `cap`; the factor of an image is the largest r of its classes (Gupta,
    Dollar and Girshick 2019, "LVIS", section 5; the cap is ours). The factor of an image without
    any class is 1.
    """
    shares = labels.mean(axis=0)
    by_class = np.sqrt(threshold / np.where(shares > 0, shares, np.inf)).clip(1, cap)
    factors: NDArray[np.float64] = np.where(labels, by_class, 1.0).max(axis=1, initial=1.0)
    return factors


def epoch_order(factors: NDArray[np.float64], seed: int, epoch: int) -> NDArray[np.int64]:
    """Return indices into `factors` in the random order of one epoch, each repeated by its factor.

    An image with factor 2.3 is shown three times in 30% of the epochs and twice in the others. The
    result depends only on the arguments.
    """
    random = np.random.default_rng((seed, epoch))
    whole = np.floor(factors)
    counts = whole + (random.random(len(factors)) < factors - whole)
    repeated = np.repeat(np.arange(len(factors)), counts.astype(np.int64))
    return random.permutation(repeated)
