"""A fine-tuning under way: its steps, its validations, and its state between two steps."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mernet.model.errors import TrainingError
from mernet.model.training.finetuning.batches import (
    Images,
    Picks,
    load_batch,
    training_picks,
    validation_picks,
)
from mernet.model.training.finetuning.resume import interrupts_wait
from mernet.model.training.finetuning.task import Task
from mernet.model.training.finetuning.trainable import Learner, make_optimiser, set_learning_rates


@dataclass(frozen=True, slots=True)
class CurveRow:
    """Mean losses at a validation: over the steps since the last one, and over all validation.

    `control_loss` and `validation_control_loss` are those of the independent classes;
    `backbone_lr` is the learning rate of the last step.
    """

    step: int
    train_loss: float
    control_loss: float
    validation_loss: float
    validation_control_loss: float
    backbone_lr: float


class Tuning:
    """Everything that changes during a fine-tuning, and what it goes by."""

    def __init__(self, task: Task, state: dict[str, Any] | None) -> None:
        """At the first step, or where `state_dict` of an equal task left off."""
        self._task, self._recipe = task, task.recipe
        self._images = task.images.to(task.device)
        self._validation = task.validation.to(task.device)
        labels = task.images.labels.cpu().numpy() > 0
        self._learner = Learner(task.backbone, task.head, labels).to(task.device)
        self._optimiser = make_optimiser(self._learner, task.recipe)
        self._sums = [0.0, 0.0]
        self._best: dict[str, Tensor] | None = None
        self.step = 0
        self.rows: list[CurveRow] = []
        if state is not None:
            self._restore(state)
        self._picks = training_picks(labels, task.recipe, task.seed, start=self.step)

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or as many validations as patience allows gained nothing."""
        losses = [row.validation_loss for row in self.rows]
        patience = self._recipe.patience or math.inf
        waited = len(losses) - 1 - losses.index(min(losses)) if losses else 0
        return self.step >= self._recipe.iterations or waited >= patience

    def advance(self) -> tuple[float, float]:
        """Train for one step; gives the losses of head and control.

        Raises TrainingError, and leaves the weights as they are, where a loss is no number.
        """
        with interrupts_wait():
            losses = self._train_on(next(self._picks))
            self._sums = [total + loss for total, loss in zip(self._sums, losses, strict=True)]
            self.step += 1
        return losses

    def validate_if_due(self) -> bool:
        """Add a row to the curve where it is time for one, and keep the best weights so far."""
        if not self._validation_is_due():
            return False
        head_loss, control_loss = self._validation_losses()
        steps = self.step - self._last_validated
        row = CurveRow(
            step=self.step,
            train_loss=self._sums[0] / steps,
            control_loss=self._sums[1] / steps,
            validation_loss=head_loss,
            validation_control_loss=control_loss,
            backbone_lr=self._optimiser.param_groups[0]["lr"],
        )
        with interrupts_wait():
            if all(head_loss < earlier.validation_loss for earlier in self.rows):
                self._keep_weights()
            self.rows.append(row)
            self._sums = [0.0, 0.0]
        return True

    def best_learner(self) -> Learner:
        """The learner with the weights of the lowest validation loss, or else the last ones."""
        if self._best is not None:
            self._learner.load_state_dict(self._best)
        return self._learner.cpu()

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers, and lists and dicts of these."""
        return {
            "learner": self._learner.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "step": self.step,
            "rows": [asdict(row) for row in self.rows],
            "sums": self._sums,
            "best": self._best,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self._learner.load_state_dict(state["learner"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._sums, self._best, self.step = state["sums"], state["best"], state["step"]
        self.rows = [CurveRow(**row) for row in state["rows"]]

    @property
    def _last_validated(self) -> int:
        return self.rows[-1].step if self.rows else 0

    def _validation_is_due(self) -> bool:
        at_time = self.step % self._recipe.validate_every == 0
        at_end = self.step == self._recipe.iterations
        return self.step > self._last_validated and (at_time or at_end)

    def _train_on(self, picks: Picks) -> tuple[float, float]:
        _seed_torch(self._task.device, self._task.seed, self.step)
        set_learning_rates(self._optimiser, self._recipe, self.step)
        inputs, labels = self._load(self._images, picks)
        mixing = self._recipe.label_mixing * self.step / self._recipe.iterations
        self._learner.train()
        losses = self._learner.losses(inputs, labels, mixing, self._task.mixed_precision)
        main, control = losses.tolist()
        if not math.isfinite(main + control):
            raise TrainingError(
                f"the loss is {main} at step {self.step}; lower the learning rates and start again"
            )
        self._optimiser.zero_grad()
        losses.sum().backward()  # type: ignore[no-untyped-call]
        if self._recipe.gradient_clip is not None:
            self._learner.clip_gradients(self._recipe.gradient_clip)
        self._optimiser.step()
        return main, control

    def _load(self, images: Images, picks: Picks) -> tuple[Tensor, Tensor]:
        return load_batch(images, picks, self._task.seed, self._recipe.ranges)

    def _validation_losses(self) -> tuple[float, float]:
        """Of head and control, given true earlier labels: means over all validation pictures."""
        self._learner.eval()
        total, pictures = np.zeros(2), 0
        for picks in validation_picks(len(self._validation), self._recipe):
            inputs, labels = self._load(self._validation, picks)
            with torch.inference_mode():
                losses = self._learner.losses(inputs, labels, 0.0, self._task.mixed_precision)
            total += np.array(losses.tolist()) * len(picks)
            pictures += len(picks)
        main, control = (total / pictures).tolist()
        return main, control

    def _keep_weights(self) -> None:
        if self._recipe.patience is not None:
            weights = self._learner.state_dict()
            self._best = {name: value.to("cpu", copy=True) for name, value in weights.items()}


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Operators that give the same bits every time, where torch has them for the device.

    Where it has none (the backward of adaptive pooling on CUDA) the ordinary one is taken. torch's
    random states and settings come back as they were.
    """
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    devices = [device] if device.type == "cuda" else []
    with (
        torch.random.fork_rng(devices),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", ".*deterministic", UserWarning)
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(enabled, warn_only=warn_only)


def _seed_torch(device: torch.device, seed: int, step: int) -> None:
    """So that dropout and drawn labels depend on the step alone, not on those before it."""
    entropy = int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0])
    # torch.manual_seed would, where CUDA is not in use, queue a call for later at every step.
    torch.default_generator.manual_seed(entropy)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(entropy)
