"""A network that learns together with its head and a control head, and how fast it learns."""

import copy
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mernet.model.backbone import Backbone
from mernet.model.checkpoint import HeadKind
from mernet.model.training.finetuning.heads import LearningChain, make_head
from mernet.model.training.finetuning.recipes import Optimiser, Recipe, Schedule


class Learner(nn.Module):
    """A copy of a backbone's network, a head on it, and a control of independent classes.

    The control learns from the same features but passes no gradient back, so that the network is
    the head's alone.
    """

    def __init__(self, backbone: Backbone, kind: HeadKind, labels: NDArray[np.bool_]) -> None:
        super().__init__()
        self.network = copy.deepcopy(backbone.network).requires_grad_(True)
        self.head = make_head(kind, backbone.feature_count, labels)
        self.control = LearningChain(backbone.feature_count, labels, linked=False)

    def losses(
        self, inputs: Tensor, labels: Tensor, mixing: float = 0.0, mixed_precision: bool = False
    ) -> Tensor:
        """Losses (2,) of head and control for inputs (B, 3, S, S) and labels (B, K).

        mixed_precision: the network computes in bfloat16 where that is safe; the heads do not.
        """
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=mixed_precision):
            features = self.network(inputs)
        features = features.float()
        main = self.head.loss(features, labels, mixing)
        return torch.stack([main, self.control.loss(features.detach(), labels)])

    def clip_gradients(self, limit: float) -> None:
        """Bring the gradient's length down to `limit`; the control's counts by itself."""
        by_loss = ([*self.network.parameters(), *self.head.parameters()], self.control.parameters())
        for parameters in by_loss:
            nn.utils.clip_grad_norm_(parameters, limit)


def make_optimiser(learner: Learner, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser, with the recipe's two learning rates kept as each group's `base_lr`.

    Biases and norms (tensors of one dimension) do not decay.
    """
    heads = [*learner.head.parameters(), *learner.control.parameters()]
    groups = []
    for parameters, rate in (
        (list(learner.network.parameters()), recipe.backbone_learning_rate),
        (heads, recipe.head_learning_rate),
    ):
        learning = [parameter for parameter in parameters if parameter.requires_grad]
        for decay, flat in ((recipe.weight_decay, False), (0.0, True)):
            group = [parameter for parameter in learning if (parameter.ndim == 1) is flat]
            groups.append({"params": group, "lr": rate, "base_lr": rate, "weight_decay": decay})
    if recipe.optimiser is Optimiser.SGD:
        return torch.optim.SGD(groups, momentum=0.9)
    return torch.optim.AdamW(groups)


def set_learning_rates(optimiser: torch.optim.Optimizer, recipe: Recipe, step: int) -> None:
    """Give each group its learning rate at a step."""
    for group in optimiser.param_groups:
        group["lr"] = group["base_lr"] * learning_rate_share(recipe, step)


def learning_rate_share(recipe: Recipe, step: int) -> float:
    """The share of the recipe's learning rates that holds at a step, counted from 0.

    Rises in even steps during the warm-up, then stays 1 or falls along half a cosine.
    """
    if step < recipe.warm_up:
        return (step + 1) / recipe.warm_up
    if recipe.schedule is Schedule.CONSTANT:
        return 1.0
    done = (step - recipe.warm_up) / (recipe.iterations - recipe.warm_up)
    return (1 + math.cos(math.pi * done)) / 2
