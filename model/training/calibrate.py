"""Fits the calibration: Platt scaling of the marginals, class by class, on validation images."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from mernet.model.calibration import Platt, logit
from mernet.model.errors import FitError
from mernet.model.training.fit_heads import as_tensor, minimise, smoothed_targets

RARE = 10
"""Classes with fewer images than this that show them, or that do not, get smoothed targets."""

# Keeps a temperature finite where the marginals tell nothing of a class; else too weak to matter.
TEMPERATURE_PRIOR = 1e-3


def fit_platt(marginals: NDArray[np.float64], labels: NDArray[np.bool_]) -> Platt:
    """A calibration from marginals (N, K) and labels (N, K) of validation images.

    Fits log T and b of each class by L-BFGS on the cross-entropy. Of a rare class the targets are
    Platt's smoothed ones, which keep it from probabilities that its few examples cannot bear out;
    of others they would pull sure and right answers away from 0 and 1. A class with no positive or
    no negative example says nothing about T, which then stays 1. Where the fit does not lower a
    class's log-loss on these images, that class keeps T = 1, b = 0.

    Raises FitError where shapes or numbers do not fit.
    """
    _check(marginals, labels)
    logits, truth = as_tensor(logit(marginals)), as_tensor(labels)
    rare = truth.sum(dim=0).minimum((1 - truth).sum(dim=0)) < RARE
    targets = torch.where(rare, smoothed_targets(labels), truth)
    both_kinds = truth.any(dim=0) & ~truth.all(dim=0)
    log_temperature = torch.zeros(truth.shape[1], dtype=torch.float64)
    bias = torch.zeros_like(log_temperature)

    def calibrated() -> Tensor:
        return logits * torch.exp(-log_temperature * both_kinds) - bias

    def loss() -> Tensor:
        fit = cross_entropy(calibrated(), targets, reduction="sum") / len(logits)
        return fit + TEMPERATURE_PRIOR / 2 * log_temperature.square().sum()

    minimise(loss, [log_temperature, bias])
    before = cross_entropy(logits, truth, reduction="none").mean(dim=0)
    after = cross_entropy(calibrated(), truth, reduction="none").mean(dim=0)
    better = after < before
    temperature = torch.exp(log_temperature * (both_kinds & better))
    return Platt(temperature=tuple(temperature.tolist()), bias=tuple((bias * better).tolist()))


def _check(marginals: NDArray[np.float64], labels: NDArray[np.bool_]) -> None:
    if labels.dtype != np.bool_ or labels.ndim != 2:
        raise FitError("labels must be booleans (N, K)")
    if marginals.shape != labels.shape or len(labels) == 0:
        raise FitError(
            f"marginals {marginals.shape} and labels {labels.shape} must be of the same images and "
            "classes"
        )
    if not np.isfinite(marginals).all():
        raise FitError("marginals hold NaN or infinite numbers; look at the images they came from")
