"""Heads that learn together with a network: their losses, and the fixed heads they become.

All start from the classes' shares: no weight on any feature, and as bias the logit of the smoothed
share, so that the first step corrects a sensible guess.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, linear

from mernet.model.chain import ChainHead
from mernet.model.checkpoint import HeadKind
from mernet.model.softmax import SoftmaxHead


class LearningChain(nn.Module):
    """A chain, or without links between the labels independent classes (binary relevance)."""

    def __init__(self, feature_count: int, labels: NDArray[np.bool_], linked: bool) -> None:
        super().__init__()
        shares = _smoothed_shares(labels)
        classes = len(shares)
        self.linked = linked
        self.weight = nn.Parameter(torch.zeros(classes, feature_count))
        self.bias = nn.Parameter(torch.logit(shares))
        self.label_weight = nn.Parameter(torch.zeros(classes, classes), requires_grad=linked)

    def loss(self, features: Tensor, labels: Tensor, mixing: float = 0.0) -> Tensor:
        """Cross-entropy, summed over classes and averaged over images: a scalar.

        features (B, F) and labels (B, K) float. With probability `mixing` an image's earlier labels
        are drawn from the chain itself instead of being the true ones (scheduled sampling, Bengio
        et al. 2015); torch's random state decides.
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

    def result(self) -> ChainHead:
        """The head as it now is; its label weights are 0 where labels are not linked."""
        return ChainHead(
            _as_array(self.weight), _as_array(self.label_weight.tril(-1)), _as_array(self.bias)
        )


class LearningSoftmax(nn.Module):
    """For images that each show exactly one of K classes."""

    def __init__(self, feature_count: int, labels: NDArray[np.bool_]) -> None:
        super().__init__()
        shares = _smoothed_shares(labels)
        self.weight = nn.Parameter(torch.zeros(len(shares), feature_count))
        self.bias = nn.Parameter(torch.log(shares))

    def loss(self, features: Tensor, labels: Tensor, _mixing: float = 0.0) -> Tensor:
        """Cross-entropy averaged over images: a scalar, for features (B, F) and labels (B, K)."""
        return cross_entropy(linear(features, self.weight, self.bias), labels.argmax(dim=1))

    def result(self) -> SoftmaxHead:
        """The head as it now is."""
        return SoftmaxHead(_as_array(self.weight), _as_array(self.bias))


LearningHead = LearningChain | LearningSoftmax


def make_head(kind: HeadKind, feature_count: int, labels: NDArray[np.bool_]) -> LearningHead:
    """A head for `feature_count` features that knows the shares of the classes in labels (N, K)."""
    if kind is HeadKind.SOFTMAX:
        return LearningSoftmax(feature_count, labels)
    return LearningChain(feature_count, labels, linked=kind is HeadKind.CHAIN)


def _draw_labels(base_logits: Tensor, links: Tensor) -> Tensor:
    """One label path (B, K) for each image, drawn down the chain."""
    drawn = torch.zeros_like(base_logits)
    for k in range(base_logits.shape[1]):
        logits = base_logits[:, k] + drawn @ links[k]
        drawn[:, k] = (torch.rand_like(logits) < torch.sigmoid(logits)).float()
    return drawn


def _smoothed_shares(labels: NDArray[np.bool_]) -> Tensor:
    """(n + 1) / (N + 2) for n of N images: never 0 or 1."""
    return torch.from_numpy((labels.sum(axis=0) + 1) / (len(labels) + 2)).float()


def _as_array(parameter: Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = parameter.detach().double().cpu().numpy()
    return array
