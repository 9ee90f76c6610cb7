"""The optimiser of fine-tuning and its learning-rate schedule."""

import math

import torch

from mernet.model.training.finetuning.network import TrainableNetwork
from mernet.model.training.finetuning.recipes import Optimiser, Recipe, Schedule


def create_optimiser(network: TrainableNetwork, recipe: Recipe) -> torch.optim.Optimizer:
    """Create the recipe's optimiser; each parameter group keeps its full rate as `base_lr`.

    Weight decay does not apply to biases and norms (tensors of one dimension).
    """
    heads = [*network.head.parameters(), *network.control.parameters()]
    groups = []
    for parameters, rate in (
        (list(network.network.parameters()), recipe.backbone_learning_rate),
        (heads, recipe.head_learning_rate),
    ):
        trainable = [parameter for parameter in parameters if parameter.requires_grad]
        for decay, one_dimensional in ((recipe.weight_decay, False), (0.0, True)):
            group = [each for each in trainable if (each.ndim == 1) is one_dimensional]
            groups.append({"params": group, "lr": rate, "base_lr": rate, "weight_decay": decay})
    if recipe.optimiser is Optimiser.SGD:
        return torch.optim.SGD(groups, momentum=0.9)
    return torch.optim.AdamW(groups)


def set_learning_rates(optimiser: torch.optim.Optimizer, recipe: Recipe, step: int) -> None:
    """Set the learning rate of each parameter group for a step."""
    for group in optimiser.param_groups:
        group["lr"] = group["base_lr"] * learning_rate_factor(recipe, step)


def learning_rate_factor(recipe: Recipe, step: int) -> float:
    """Return the factor on the recipe's learning rates at a step, counted from 0.

    It rises linearly to 1 during the warm-up, then stays 1 or falls to 0 along half a cosine.
    """
    if step < recipe.warm_up:
        return (step + 1) / recipe.warm_up
    if recipe.schedule is Schedule.CONSTANT:
        return 1.0
    done = (step - recipe.warm_up) / (recipe.iterations - recipe.warm_up)
    return (1 + math.cos(math.pi * done)) / 2
