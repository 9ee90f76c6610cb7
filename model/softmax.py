"""The softmax head, for data sets in which every image shows exactly one class."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mernet.model.chain import ChainSettings
from mernet.model.errors import ModelError


@dataclass(frozen=True, slots=True, eq=False)
class SoftmaxHead:
    """Weights, float64: weight (K, F) on the features, bias (K,).

    Raises:
        ModelError: A shape is wrong or a number is not finite.
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.bias.ndim != 1 or self.weight.ndim != 2 or self.bias.shape != self.weight.shape[:1]:
            raise ModelError("softmax weights must have shapes (K, F) and (K,)")
        if not (np.isfinite(self.weight).all() and np.isfinite(self.bias).all()):
            raise ModelError("softmax weights contain NaN or infinite numbers; fit the head again")

    def marginals(
        self, features: NDArray[np.float32], _settings: ChainSettings
    ) -> NDArray[np.float64]:
        """Return P(class = k | image) for features (N, F): (N, K) float64, each row summing to 1.

        A row depends on its features and the weights alone; the chain's settings have no effect.
        """
        rows = [self.weight @ image + self.bias for image in features.astype(np.float64)]
        logits = np.array(rows).reshape(len(features), len(self.bias))
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))  # without overflow
        return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))
