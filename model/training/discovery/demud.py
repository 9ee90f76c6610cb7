"""DEMUD: ranks images by novelty, each compared with all images before it.

Implemented from the published description: score each unseen item by its squared
reconstruction error under the mean and the top singular vectors of the items seen so far, take
the highest, add it to the seen items, refit (Wagstaff et al., "Guiding scientific discovery
with explanations using DEMUD", AAAI 2013). Every refit is exact; all that it needs of the seen
items are their inner products with each other and with the data. On two busy cores, the first
100 of 5,000 items of 4,096 features took 4 s with nothing seen before, and 2.5 minutes with
1,000 items seen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.sparse.linalg import eigsh

from mernet.model.errors import FitError

COMPONENTS = 50
ROUNDING = 1e-10
"""A singular vector with less than this share of the variance is a rounding error."""
MAX_DENSE = 500
"""Up to this many seen items, a dense solver is used; beyond, an iterative one is faster."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class NoveltyRanking:
    """The picked items, the most novel first.

    Attributes:
        order: (count,), rows of the data.
        scores: (count,) float64, squared reconstruction errors when the items were picked.
        residuals: (count, F) float32, what the seen items did not explain of each picked item; the
            squares of a row sum to the score.
    """

    order: NDArray[np.int64]
    scores: Matrix
    residuals: NDArray[np.float32]


def rank_by_novelty(
    data: NDArray[np.floating],
    seen: NDArray[np.floating] | None = None,
    components: int = COMPONENTS,
    count: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NoveltyRanking:
    """Rank rows of `data` by novelty.

    If nothing is seen, the first pick is the item farthest from the mean of the data; the published
    description does not define this case. Of equal scores, the first row is picked.

    Args:
        data: (N, F), the items to rank.
        seen: (M, F), items that are known already.
        components: Number of singular vectors; fewer if the seen items span fewer.
        count: Number of items to pick; by default all.
        progress: Called with (picks done, total picks).

    Raises:
        FitError: The arrays do not match, are empty or not finite.
    """
    known = np.empty((0, *data.shape[1:])) if seen is None else seen
    _check_inputs(data, known, components)
    count = len(data) if count is None else min(count, len(data))
    # Any centre is valid; this one keeps rounding errors small.
    centre = data.mean(axis=0, dtype=np.float64)
    items = data - centre
    model = _Seen.of(known - centre, items, room=count)
    squares = np.einsum("nf,nf->n", items, items)
    order, scores = np.empty(count, np.int64), np.empty(count)
    residuals = np.empty((count, data.shape[1]), np.float32)
    for pick in range(count):
        fit = model.fit(components)
        errors = fit.errors(squares)
        errors[order[:pick]] = -np.inf
        best = int(np.argmax(errors))
        order[pick], scores[pick] = best, max(errors[best], 0.0)
        residuals[pick] = fit.residual(best, items[best])
        model.add(items[best], items)
        if progress is not None:
            progress(pick + 1, count)
    return NoveltyRanking(order, scores, residuals)


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """Mean and basis of n seen items, as weights of these items.

    Attributes:
        items: (n, F).
        cross: (n, N), inner products of the items with the data.
        basis: (n, k), column j is singular vector j.
        means: (n,), inner products of the items' mean with the items.
        mean: Inner product of the items' mean with itself.
    """

    items: Matrix
    cross: Matrix
    basis: Matrix
    means: Matrix
    mean: float

    def errors(self, squares: Matrix) -> Matrix:
        """Return squared reconstruction errors (N,) of data with the given squared lengths."""
        if not len(self.items):
            return squares.copy()
        distances = squares - 2 * self.cross.mean(axis=0) + self.mean
        explained = self.basis.T @ self.cross - (self.means @ self.basis)[:, None]
        errors: Matrix = distances - np.einsum("kn,kn->n", explained, explained)
        return errors

    def residual(self, index: int, item: Matrix) -> Matrix:
        """Return what mean and basis do not explain of row `index` of the data: (F,)."""
        if not len(self.items):
            return item
        coordinates = (self.cross[:, index] - self.means) @ self.basis
        # The columns of the basis sum to 0, so that the mean need not be subtracted.
        weights = self.basis @ coordinates + 1 / len(self.items)
        residual: Matrix = item - weights @ self.items
        return residual


@dataclass(slots=True, eq=False)
class _Seen:
    """The seen items and their inner products, in arrays with room for more; `count` are used."""

    items: Matrix
    gram: Matrix
    cross: Matrix
    count: int

    @classmethod
    def of(cls, known: Matrix, data: Matrix, room: int) -> Self:
        count, size = len(known), len(known) + room
        items = np.empty((size, data.shape[1]))
        gram, cross = np.empty((size, size)), np.empty((size, len(data)))
        items[:count] = known
        gram[:count, :count] = known @ known.T
        cross[:count] = known @ data.T
        return cls(items, gram, cross, count)

    def add(self, item: Matrix, data: Matrix) -> None:
        self.items[self.count] = item
        self.cross[self.count] = data @ item
        self.count += 1
        products = self.items[: self.count] @ item
        self.gram[self.count - 1, : self.count] = products
        self.gram[: self.count, self.count - 1] = products

    def fit(self, components: int) -> _Fit:
        gram = self.gram[: self.count, : self.count]
        means = gram.mean(axis=0) if self.count else np.empty(0)
        mean = float(means.mean()) if self.count else 0.0
        variances, vectors = _leading_eigenvectors(gram - means - means[:, None] + mean, components)
        return _Fit(
            items=self.items[: self.count],
            cross=self.cross[: self.count],
            basis=vectors / np.sqrt(variances),
            means=means,
            mean=mean,
        )


def _leading_eigenvectors(scatter: Matrix, components: int) -> tuple[Matrix, Matrix]:
    """Return the largest eigenvalues (k,) and their vectors (n, k), without those from rounding."""
    size = len(scatter)
    total = float(np.trace(scatter))
    if size < 2 or total <= 0:
        return np.empty(0), np.empty((size, 0))
    components = min(components, size - 1)
    if size <= max(MAX_DENSE, 2 * components):
        values, vectors = eigh(scatter, subset_by_index=[size - components, size - 1])
    else:
        start = np.random.default_rng(0).standard_normal(size)
        values, vectors = eigsh(scatter, k=components, v0=start)
    kept = values > ROUNDING * total
    return values[kept], vectors[:, kept]


def _check_inputs(data: NDArray[np.floating], seen: NDArray[np.floating], components: int) -> None:
    if data.ndim != 2 or not data.size:
        raise FitError(f"items to rank have shape {data.shape}; give at least one, as (N, F)")
    if seen.ndim != 2 or seen.shape[1] != data.shape[1]:
        raise FitError(
            f"seen items have shape {seen.shape}, those to rank {data.shape}; "
            "compute the features of both in the same way"
        )
    if components < 1:
        raise FitError(f"a basis of {components} components is not possible; give at least 1")
    if not (np.isfinite(data).all() and np.isfinite(seen).all()):
        raise FitError("features contain NaN or infinite numbers; check the images they come from")
