"""Platt scaling: turns the chain's marginal probabilities into calibrated ones."""

from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, FiniteFloat

# The logit of 0 and 1 is infinite. 1e-7 has a logit of -16.1, far beyond what a validation set of
# some hundred images can distinguish.
CLIP = 1e-7


def logit(marginals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log(p / (1 - p)) of probabilities clipped to [1e-7, 1 - 1e-7]; any shape, float64."""
    clipped = np.clip(np.asarray(marginals, dtype=np.float64), CLIP, 1 - CLIP)
    return np.log(clipped) - np.log1p(-clipped)


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / (1 + exp(-z)), computed without overflow; any shape, float64."""
    tail = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1.0, tail) / (1.0 + tail)


class Platt(BaseModel, frozen=True, extra="forbid"):
    """A temperature T > 0 and a bias b for each class: p = 1 / (1 + exp(-Z/T + b)), Z the logit.

    Raises:
        pydantic.ValidationError: A T is not positive, or a number is not finite.
    """

    temperature: tuple[Annotated[FiniteFloat, Field(gt=0)], ...]
    bias: tuple[FiniteFloat, ...]

    @classmethod
    def identity(cls, classes: int) -> Self:
        """Return the calibration that changes nothing: T = 1, b = 0."""
        return cls(temperature=(1.0,) * classes, bias=(0.0,) * classes)

    def apply(self, marginals: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return calibrated probabilities (N, K) float64 for marginal probabilities (N, K)."""
        return sigmoid(logit(marginals) / np.array(self.temperature) - np.array(self.bias))
