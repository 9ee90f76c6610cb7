"""Fits heads on the features of a frozen backbone: a chain, independent classes or a softmax.

The losses are convex, so that each fit ends at the one best head for its penalty and needs no
schedule. Labels of a chain and of independent classes are replaced by Platt's smoothed targets,
(N+ + 1) / (N+ + 2) for a positive and 1 / (N- + 2) for a negative example (Platt 1999): a class
without positive examples gets a low probability, not zero.
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
"""L2 penalty on a chain's label weights; chosen by log-loss on 300 real pictures, fitted on 600."""


class HeadFitter:
    """Fits heads on the features of N images, which are prepared once for several fits."""

    def __init__(self, features: NDArray[np.float32], l2: float) -> None:
        """Prepare features.

        A component of a weight outside the span of the images changes no logit and is zero at the
        optimum, so the fit uses only the R <= N principal directions. The curvature of a logistic
        loss is at most 1/4, and along a direction with singular value s at most s^2 / 4N + l2:
        scaled by that, the loss is nearly isotropic and L-BFGS needs few steps.

        Args:
            features: Features (N, F).
            l2: Penalty: l2/2 times the squared weights is added to the mean loss of an image.

        Raises:
            FitError: Features are not finite, or l2 is not positive.
        """
        if features.ndim != 2 or len(features) == 0 or not np.isfinite(features).all():
            raise FitError("features must be finite numbers (N, F); check the images")
        if l2 <= 0:
            raise FitError("l2 must be positive: without a penalty the weights grow without limit")
        numbers = as_tensor(features)
        self._mean = numbers.mean(dim=0)
        left, singular, directions = torch.linalg.svd(numbers - self._mean, full_matrices=False)
        shrink = (singular.square() / (4 * len(numbers)) + l2).rsqrt()
        self._l2 = l2
        self._inputs = left * (singular * shrink)  # (N, R)
        self._shrink = shrink  # (R,): the penalty is on the weights on inputs times this
        self._to_features = shrink[:, None] * directions  # (R, F): from weights on inputs

    def chain(
        self,
        labels: NDArray[np.bool_],
        earlier: NDArray[np.bool_] | None = None,
        label_l2: float = LABEL_L2,
    ) -> ChainHead:
        """Fit a chain; the loss is the cross-entropy summed over classes.

        Args:
            labels: Labels (N, K).
            earlier: The labels (N, K) that later classes depend on; by default the true ones
                (teacher forcing).
            label_l2: L2 penalty on the label weights.

        Raises:
            FitError: The shapes do not match.
        """
        self._check_labels(labels)
        given, targets = as_tensor(labels if earlier is None else earlier), smoothed_targets(labels)
        label_weight = torch.zeros(labels.shape[1], labels.shape[1], dtype=torch.float64)

        def label_term() -> tuple[Tensor, Tensor]:
            strict = label_weight.tril(-1)
            return given @ strict.T, label_l2 / 2 * strict.square().sum()

        weight, bias = self._fit(targets, _binary_loss, label_term, [label_weight])
        return ChainHead(weight, label_weight.tril(-1).numpy(), bias)

    def independent(self, labels: NDArray[np.bool_]) -> ChainHead:
        """Fit independent classes (binary relevance), for labels (N, K).

        Returns:
            A chain whose label weights are 0.

        Raises:
            FitError: The shapes do not match.
        """
        self._check_labels(labels)
        weight, bias = self._fit(smoothed_targets(labels), _binary_loss)
        return ChainHead(weight, np.zeros((len(bias), len(bias))), bias)

    def softmax(self, labels: NDArray[np.bool_]) -> SoftmaxHead:
        """Fit a softmax head, for labels (N, K) with exactly one class per image.

        Raises:
            FitError: The shapes do not match, or an image does not have exactly one class.
        """
        self._check_labels(labels)
        if (labels.sum(axis=1) != 1).any():
            raise FitError("a softmax head needs exactly one class per image; fit a chain")
        weight, bias = self._fit(as_tensor(labels), _softmax_loss)
        return SoftmaxHead(weight, bias)

    def _fit(
        self,
        targets: Tensor,
        loss_of: Callable[[Tensor, Tensor], Tensor],
        extra_term: Callable[[], tuple[Tensor, Tensor]] | None = None,
        extra_parameters: list[Tensor] | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return weight (K, F) and bias (K,); `extra_term` adds logits (N, K) and a penalty."""
        shares = targets.mean(dim=0).clamp(1 / (len(targets) + 2), 1 - 1 / (len(targets) + 2))
        weight = torch.zeros(targets.shape[1], len(self._to_features), dtype=torch.float64)
        bias = torch.logit(shares)

        def loss() -> Tensor:
            logits = self._inputs @ weight.T + bias
            penalty = self._l2 / 2 * (weight * self._shrink).square().sum()
            if extra_term is not None:
                extra_logits, extra_penalty = extra_term()
                logits, penalty = logits + extra_logits, penalty + extra_penalty
            total: Tensor = loss_of(logits, targets) / len(targets) + penalty
            return total

        minimise(loss, [weight, bias, *(extra_parameters or [])])
        on_features = weight @ self._to_features
        offset: NDArray[np.float64] = (bias - on_features @ self._mean).numpy()
        return on_features.numpy(), offset

    def _check_labels(self, labels: NDArray[np.bool_]) -> None:
        if labels.dtype != np.bool_ or labels.ndim != 2:
            raise FitError("labels must be booleans (N, K)")
        if len(labels) != len(self._inputs):
            raise FitError(
                f"features of {len(self._inputs)} images but labels of {len(labels)}: both must be "
                "of the same images"
            )


def relative_penalty(features: NDArray[np.float32], share: float) -> float:
    """Return the l2 that is `share` of the mean variance of features (N, F), whatever their scale.

    It is never 0, even if all images are equal.
    """
    variance = float(features.var(axis=0, dtype=np.float64).mean())
    return share * max(variance, float(np.finfo(np.float32).tiny))


def draw_labels(
    chain: ChainHead, features: NDArray[np.float32], random: np.random.Generator
) -> NDArray[np.bool_]:
    """Draw labels (N, K) from the chain for features (N, F), one path per image."""
    logits = chain.base_logits(features)
    drawn = np.zeros(logits.shape, dtype=bool)
    for k in range(logits.shape[1]):
        drawn[:, k] = random.random(len(drawn)) < sigmoid(logits[:, k])
        logits += np.outer(drawn[:, k], chain.label_weight[:, k])
    return drawn


def smoothed_targets(labels: NDArray[np.bool_]) -> Tensor:
    """Return Platt's targets (N, K) float64 for labels (N, K): near 0 or 1 but never equal."""
    truth = as_tensor(labels)
    positives = truth.sum(dim=0)
    negatives = len(truth) - positives
    return torch.where(truth > 0, (positives + 1) / (positives + 2), 1 / (negatives + 2))


def minimise(loss: Callable[[], Tensor], parameters: list[Tensor]) -> None:
    """Move the parameters, in place, to the minimum of a smooth convex loss with L-BFGS."""
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
    """Return a float64 tensor of the same numbers."""
    return torch.from_numpy(np.asarray(array, dtype=np.float64))


def _binary_loss(logits: Tensor, targets: Tensor) -> Tensor:
    loss: Tensor = functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    return loss


def _softmax_loss(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits, targets, reduction="sum")
