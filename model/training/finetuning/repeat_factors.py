"""Repeat-factor sampling: images of rare classes come up more often in an epoch."""

import numpy as np
from numpy.typing import NDArray


def repeat_factors(labels: NDArray[np.bool_], threshold: float, cap: float) -> NDArray[np.float64]:
    """How often each image (N,) comes up in an epoch on average, from labels (N, K).

    r = max(1, sqrt(threshold / f)) for a class that a share f of the images shows, at most `cap`;
    an image takes the largest r of its classes (Gupta, Dollar and Girshick 2019, "LVIS", section 5;
    the cap is ours). An image without a class comes up once.
    """
    shares = labels.mean(axis=0)
    by_class = np.sqrt(threshold / np.where(shares > 0, shares, np.inf)).clip(1, cap)
    factors: NDArray[np.float64] = np.where(labels, by_class, 1.0).max(axis=1, initial=1.0)
    return factors


def epoch_order(factors: NDArray[np.float64], seed: int, epoch: int) -> NDArray[np.int64]:
    """Indices into `factors` in the random order of one epoch, each as often as its factor says.

    A factor of 2.3 gives three in 30% of the epochs and two in the others. Depends on the arguments
    alone.
    """
    random = np.random.default_rng((seed, epoch))
    whole = np.floor(factors)
    counts = whole + (random.random(len(factors)) < factors - whole)
    repeated = np.repeat(np.arange(len(factors)), counts.astype(np.int64))
    return random.permutation(repeated)
