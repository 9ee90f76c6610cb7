"""Heads that are trained together with a network: chain, independent classes and softmax.

All start from the frequencies of the classes: the weights are 0 and the bias is the logit (softmax:
the logarithm) of the smoothed share of images, so that the first step starts from a sensible guess.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, linear

from mernet.model.chain import ChainHead
from mernet.model.checkpoint import HeadKind
from mernet.model.softmax import SoftmaxHead


class TrainableChain(nn.Module):
    """A classifier chain; without links between labels, independent classes (binary relevance)."""

    def __init__(self, feature_count: int, labels: NDArray[np.bool_], linked: bool) -> None:
        """Create a head for `feature_count` features and training labels (N, K)."""
        super().__init__()
        shares = _smoothed_shares(labels)
        classes = len(shares)
        self.linked = linked
        self.weight = nn.Parameter(torch.zeros(classes, feature_count))
        self.bias = nn.Parameter(torch.logit(shares))
        self.label_weight = nn.Parameter(torch.zeros(classes, classes), requires_grad=linked)

    def loss(self, features: Tensor, labels: Tensor, mixing: float = 0.0) -> Tensor:
        """Compute the cross-entropy, summed over classes and averaged over images: a scalar.

        Args:
            features: Features (B, F) float32.
            labels: True labels (B, K) float32, 0 or 1.
            mixing: Probability that an image's earlier labels are drawn from the chain itself
                instead of being the true ones (scheduled sampling, Bengio et al. 2015). Uses
                torch's random state.
        """
        base = linear(features, self.weight, self.bias)
        links = self.label_weight.tril(-1)
        earlier = labels
        if self.linked and mixing > 0:
            drawn = _draw_labels(base.detach(), links.detach())
            mixed = torch.rand(len(labels), 1, device=labels.device) < mixing
            earlier = torch.where(mixed, drawn, labels)
        logits = base + linear(earlier, links)
        return binary_cross_entropy_with_logits(logits, labels, reduction="sum") / len(labels)

    def to_head(self) -> ChainHead:
        """Return the current weights as a fixed head; without links its label weights are 0."""
        return ChainHead(
            _as_array(self.weight), _as_array(self.label_weight.tril(-1)), _as_array(self.bias)
        )


class TrainableSoftmax(nn.Module):
    """A softmax over K classes, for images that each show exactly one class."""

    def __init__(self, feature_count: int, labels: NDArray[np.bool_]) -> None:
        """Create a head for `feature_count` features and training labels (N, K)."""
        super().__init__()
        shares = _smoothed_shares(labels)
        self.weight = nn.Parameter(torch.zeros(len(shares), feature_count))
        self.bias = nn.Parameter(torch.log(shares))

    def loss(self, features: Tensor, labels: Tensor, _mixing: float = 0.0) -> Tensor:
        """Compute the mean cross-entropy, a scalar, of features (B, F) and labels (B, K)."""
        return cross_entropy(linear(features, self.weight, self.bias), labels.argmax(dim=1))

    def to_head(self) -> SoftmaxHead:
        """Return the current weights as a fixed head."""
        return SoftmaxHead(_as_array(self.weight), _as_array(self.bias))


TrainableHead = TrainableChain | TrainableSoftmax


def create_head(kind: HeadKind, feature_count: int, labels: NDArray[np.bool_]) -> TrainableHead:
    """Create a head for `feature_count` features and training labels (N, K)."""
    if kind is HeadKind.SOFTMAX:
        return TrainableSoftmax(feature_count, labels)
    return TrainableChain(feature_count, labels, linked=kind is HeadKind.CHAIN)


def _draw_labels(base_logits: Tensor, links: Tensor) -> Tensor:
    """Draw one path of labels (B, K) along the chain for each image."""
    drawn = torch.zeros_like(base_logits)
    for k in range(base_logits.shape[1]):
        logits = base_logits[:, k] + drawn @ links[k]
        drawn[:, k] = (torch.rand_like(logits) < torch.sigmoid(logits)).float()
    return drawn


def _smoothed_shares(labels: NDArray[np.bool_]) -> Tensor:
    """Return (n + 1) / (N + 2) for each class that n of N images show: never 0 or 1."""
    return torch.from_numpy((labels.sum(axis=0) + 1) / (len(labels) + 2)).float()


def _as_array(parameter: Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = parameter.detach().double().cpu().numpy()
    return array
