"""The network in training: a backbone with a head and a control head."""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mernet.model.backbone import Backbone
from mernet.model.checkpoint import HeadKind
from mernet.model.training.finetuning.heads import TrainableChain, create_head


class TrainableNetwork(nn.Module):
    """A copy of a backbone's network with a head, and a control head of independent classes.

    The control head is trained on the same features but passes no gradient to the network, so that
    only the head shapes the features.
    """

    def __init__(self, backbone: Backbone, kind: HeadKind, labels: NDArray[np.bool_]) -> None:
        """Copy the backbone and create both heads for training labels (N, K)."""
        super().__init__()
        self.network = copy.deepcopy(backbone.network).requires_grad_(True)
        self.head = create_head(kind, backbone.feature_count, labels)
        self.control = TrainableChain(backbone.feature_count, labels, linked=False)

    def losses(
        self, inputs: Tensor, labels: Tensor, mixing: float = 0.0, mixed_precision: bool = False
    ) -> Tensor:
        """Compute the losses (2,) of head and control for inputs (B, 3, S, S) and labels (B, K).

        Args:
            inputs: Normalised pictures, float32.
            labels: True labels, 0 or 1, float32.
            mixing: Probability that the chain sees an image's earlier labels as drawn by itself.
            mixed_precision: Compute the network in bfloat16 where that is safe; never the heads.
        """
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=mixed_precision):
            features = self.network(inputs)
        features = features.float()
        main = self.head.loss(features, labels, mixing)
        return torch.stack([main, self.control.loss(features.detach(), labels)])

    def clip_gradients(self, limit: float) -> None:
        """Limit the norm of the gradient; the control's gradient is clipped separately."""
        by_loss = ([*self.network.parameters(), *self.head.parameters()], self.control.parameters())
        for parameters in by_loss:
            nn.utils.clip_grad_norm_(parameters, limit)
