"""Fits the calibration: Platt scaling of the marginals for each class, on validation images."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from mernet.model.calibration import Platt, logit
from mernet.model.errors import FitError
from mernet.model.training.fit_heads import as_tensor, minimise, smoothed_targets

RARE = 10
"""A class with fewer positive or fewer negative images than this gets smoothed targets."""

TEMPERATURE_PRIOR = 1e-3
"""Keeps the temperature finite if the marginals carry no information about a class; too weak to
matter otherwise."""


def fit_platt(marginals: NDArray[np.float64], labels: NDArray[np.bool_]) -> Platt:
    """Fit log T and b of each class with L-BFGS on the cross-entropy.

    A rare class gets Platt's smoothed targets, which prevent probabilities that its few examples do
    not justify; for other classes they would pull confident and correct answers away from 0 and 1.
    Without positive or without negative examples T cannot be determined and stays 1. A class whose
    log-loss on these images would not become lower keeps T = 1, b = 0.

    Args:
        marginals: Uncalibrated probabilities (N, K) of validation images.
        labels: Their true labels (N, K).

    Raises:
        FitError: The shapes do not match, or a marginal is not finite.
    """
    _check_inputs(marginals, labels)
    logits, truth = as_tensor(logit(marginals)), as_tensor(labels)
    rare = truth.sum(dim=0).minimum((1 - truth).sum(dim=0)) < RARE
    targets = torch.where(rare, smoothed_targets(labels), truth)
    both_kinds = truth.any(dim=0) & ~truth.all(dim=0)
    log_temperature = torch.zeros(truth.shape[1], dtype=torch.float64)
    bias = torch.zeros_like(log_temperature)

    def calibrated_logits() -> Tensor:
        return logits * torch.exp(-log_temperature * both_kinds) - bias

    def loss() -> Tensor:
        fit = cross_entropy(calibrated_logits(), targets, reduction="sum") / len(logits)
        return fit + TEMPERATURE_PRIOR / 2 * log_temperature.square().sum()

    minimise(loss, [log_temperature, bias])
    before = cross_entropy(logits, truth, reduction="none").mean(dim=0)
    after = cross_entropy(calibrated_logits(), truth, reduction="none").mean(dim=0)
    better = after < before
    temperature = torch.exp(log_temperature * (both_kinds & better))
    return Platt(temperature=tuple(temperature.tolist()), bias=tuple((bias * better).tolist()))


def _check_inputs(marginals: NDArray[np.float64], labels: NDArray[np.bool_]) -> None:
    if labels.dtype != np.bool_ or labels.ndim != 2:
        raise FitError("labels must be booleans (N, K)")
    if marginals.shape != labels.shape or len(labels) == 0:
        raise FitError(
            f"marginals {marginals.shape} and labels {labels.shape} must be of the same images and "
            "classes"
        )
    if not np.isfinite(marginals).all():
        raise FitError("marginals are NaN or infinite; check the images that they come from")
