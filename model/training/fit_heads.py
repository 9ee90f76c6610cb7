"""Fits heads on features that a backbone gave: a chain, independent classes, a softmax.

The losses are convex, so that a fit ends at the one best head for its penalty, without a schedule.
Labels of a chain and of independent classes are replaced by Platt's smoothed targets,
(N+ + 1) / (N+ + 2) for a positive and 1 / (N- + 2) for a negative example (Platt 1999): a class
that was never seen gets a low probability, not zero.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mernet.model.calibration import sigmoid
from mernet.model.chain import ChainHead
from mernet.model.errors import FitError
from mernet.model.softmax import SoftmaxHead

LABEL_L2 = 1e-3
"""Penalty on a chain's label weights; chosen by log-loss on 300 real pictures, fitted on 600."""


class HeadFit:
    """Features of N images, prepared once for several fits with the same penalty."""

    def __init__(self, features: NDArray[np.float32], l2: float) -> None:
        """Features (N, F); l2/2 times the squared weights is added to the mean loss of an image.

        A weight outside the span of the images changes no logit and is zero at the optimum: the fit
        is in the R <= N principal directions. A logistic loss curves by at most 1/4, so a direction
        with singular value s by at most s^2 / 4N + l2: scaled by that, the loss is nearly round and
        L-BFGS needs few steps. Raises FitError where numbers are not finite, or l2 not positive.
        """
        if features.ndim != 2 or len(features) == 0 or not np.isfinite(features).all():
            raise FitError("features must be finite numbers (N, F); look at the images")
        if l2 <= 0:
            raise FitError("l2 must be positive: without it weights grow without end")
        numbers = as_tensor(features)
        self._mean = numbers.mean(dim=0)
        left, singular, directions = torch.linalg.svd(numbers - self._mean, full_matrices=False)
        shrink = (singular.square() / (4 * len(numbers)) + l2).rsqrt()
        self._l2 = l2
        self._inputs = left * (singular * shrink)  # (N, R)
        self._shrink = shrink  # (R,): a weight on an input, times this, is penalised by length
        self._back = shrink[:, None] * directions  # (R, F): weights on inputs to features

    def chain(
        self,
        labels: NDArray[np.bool_],
        earlier: NDArray[np.bool_] | None = None,
        label_l2: float = LABEL_L2,
    ) -> ChainHead:
        """A chain for labels (N, K), cross-entropy summed over classes.

        `earlier` (N, K) are the labels that later classes depend on; by default the true ones
        (teacher forcing). Raises FitError where shapes do not fit.
        """
        self._check(labels)
        given, targets = as_tensor(labels if earlier is None else earlier), smoothed_targets(labels)
        label_weight = torch.zeros(labels.shape[1], labels.shape[1], dtype=torch.float64)

        def extra() -> tuple[Tensor, Tensor]:
            strict = label_weight.tril(-1)
            return given @ strict.T, label_l2 / 2 * strict.square().sum()

        weight, bias = self._fit(targets, _binary_loss, extra, [label_weight])
        return ChainHead(weight, label_weight.tril(-1).numpy(), bias)

    def independent(self, labels: NDArray[np.bool_]) -> ChainHead:
        """A head of independent classes (binary relevance): a chain without label weights.

        Raises FitError where shapes do not fit.
        """
        self._check(labels)
        weight, bias = self._fit(smoothed_targets(labels), _binary_loss)
        return ChainHead(weight, np.zeros((len(bias), len(bias))), bias)

    def softmax(self, labels: NDArray[np.bool_]) -> SoftmaxHead:
        """A softmax head for labels (N, K) with exactly one class an image.

        Raises FitError where shapes do not fit or an image shows another number of classes.
        """
        self._check(labels)
        if (labels.sum(axis=1) != 1).any():
            raise FitError("a softmax head needs exactly one class an image; fit a chain")
        weight, bias = self._fit(as_tensor(labels), _softmax_loss)
        return SoftmaxHead(weight, bias)

    def _fit(
        self,
        targets: Tensor,
        loss_of: Callable[[Tensor, Tensor], Tensor],
        extra: "Callable[[], tuple[Tensor, Tensor]] | None" = None,
        extra_parameters: list[Tensor] | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weight (K, F) and bias (K,) on features; `extra` adds logits (N, K) and a penalty."""
        shares = targets.mean(dim=0).clamp(1 / (len(targets) + 2), 1 - 1 / (len(targets) + 2))
        weight = torch.zeros(targets.shape[1], len(self._back), dtype=torch.float64)
        bias = torch.logit(shares)

        def loss() -> Tensor:
            logits = self._inputs @ weight.T + bias
            penalty = self._l2 / 2 * (weight * self._shrink).square().sum()
            if extra is not None:
                more_logits, more_penalty = extra()
                logits, penalty = logits + more_logits, penalty + more_penalty
            total: Tensor = loss_of(logits, targets) / len(targets) + penalty
            return total

        minimise(loss, [weight, bias, *(extra_parameters or [])])
        on_features = weight @ self._back
        offset: NDArray[np.float64] = (bias - on_features @ self._mean).numpy()
        return on_features.numpy(), offset

    def _check(self, labels: NDArray[np.bool_]) -> None:
        if labels.dtype != np.bool_ or labels.ndim != 2:
            raise FitError("labels must be booleans (N, K)")
        if len(labels) != len(self._inputs):
            raise FitError(
                f"features of {len(self._inputs)} images, labels of {len(labels)}: give the same "
                "images"
            )


def relative_penalty(features: NDArray[np.float32], share: float) -> float:
    """The l2 that is `share` of the mean variance of features (N, F): the same in any unit.

    Never 0, even where all images are alike.
    """
    variance = float(features.var(axis=0, dtype=np.float64).mean())
    return share * max(variance, float(np.finfo(np.float32).tiny))


def draw_labels(
    chain: ChainHead, features: NDArray[np.float32], random: np.random.Generator
) -> NDArray[np.bool_]:
    """Labels (N, K) that the chain itself draws for features (N, F), one path an image."""
    logits = chain.base_logits(features)
    drawn = np.zeros(logits.shape, dtype=bool)
    for k in range(logits.shape[1]):
        drawn[:, k] = random.random(len(drawn)) < sigmoid(logits[:, k])
        logits += np.outer(drawn[:, k], chain.label_weight[:, k])
    return drawn


def smoothed_targets(labels: NDArray[np.bool_]) -> Tensor:
    """Platt's targets (N, K) float64 for labels (N, K): never 0 or 1, closer with more examples."""
    truth = as_tensor(labels)
    positives = truth.sum(dim=0)
    negatives = len(truth) - positives
    return torch.where(truth > 0, (positives + 1) / (positives + 2), 1 / (negatives + 2))


def minimise(loss: Callable[[], Tensor], parameters: list[Tensor]) -> None:
    """Move the parameters, in place, to the minimum of a smooth convex loss, by L-BFGS."""
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimiser = torch.optim.LBFGS(
        parameters,
        max_iter=500,
        tolerance_grad=1e-7,
        tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )

    def step() -> Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(step)  # type: ignore[no-untyped-call]
    for parameter in parameters:
        parameter.requires_grad_(False)


def as_tensor(array: NDArray[np.generic]) -> Tensor:
    """A float64 tensor of the same numbers."""
    return torch.from_numpy(np.asarray(array, dtype=np.float64))


def _binary_loss(logits: Tensor, targets: Tensor) -> Tensor:
    loss: Tensor = functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    return loss


def _softmax_loss(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits, targets, reduction="sum")
