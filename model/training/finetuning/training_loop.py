"""The training loop of fine-tuning: its steps, its validations, and its state between two steps."""

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
    LabelledImages,
    Samples,
    load_batch,
    training_batches,
    validation_batches,
)
from mernet.model.training.finetuning.job import FineTuningJob
from mernet.model.training.finetuning.network import TrainableNetwork
from mernet.model.training.finetuning.optimiser import create_optimiser, set_learning_rates
from mernet.model.training.finetuning.training_state import delay_interrupts


@dataclass(frozen=True, slots=True)
class CurveRow:
    """Mean losses at a validation.

    Attributes:
        step: Steps done.
        train_loss: Mean loss of the head over the steps since the previous validation.
        control_loss: The same for the control head of independent classes.
        validation_loss: Mean loss of the head over all validation pictures.
        validation_control_loss: The same for the control head.
        backbone_lr: Learning rate of the backbone in the last step.
    """

    step: int
    train_loss: float
    control_loss: float
    validation_loss: float
    validation_control_loss: float
    backbone_lr: float


class TrainingLoop:
    """Trains a network step by step, and holds everything that changes while it does so."""

    def __init__(self, job: FineTuningJob, state: dict[str, Any] | None) -> None:
        """Start at the first step, or continue from the `state_dict` of an equal job."""
        self._job, self._recipe = job, job.recipe
        self._images = job.images.to(job.device)
        self._validation = job.validation.to(job.device)
        labels = job.images.labels.cpu().numpy() > 0
        self._network = TrainableNetwork(job.backbone, job.head, labels).to(job.device)
        self._optimiser = create_optimiser(self._network, job.recipe)
        self._loss_sums = [0.0, 0.0]
        self._best_weights: dict[str, Tensor] | None = None
        self.step = 0
        self.rows: list[CurveRow] = []
        if state is not None:
            self._load_state_dict(state)
        self._batches = training_batches(labels, job.recipe, job.seed, start=self.step)

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or `patience` validations in a row brought no lower loss."""
        losses = [row.validation_loss for row in self.rows]
        patience = self._recipe.patience or math.inf
        without_gain = len(losses) - 1 - losses.index(min(losses)) if losses else 0
        return self.step >= self._recipe.iterations or without_gain >= patience

    def train_step(self) -> tuple[float, float]:
        """Train for one step.

        Returns:
            The losses of head and control head.

        Raises:
            TrainingError: A loss is not finite; the weights stay unchanged.
        """
        with delay_interrupts():
            losses = self._train_on(next(self._batches))
            sums = zip(self._loss_sums, losses, strict=True)
            self._loss_sums = [total + loss for total, loss in sums]
            self.step += 1
        return losses

    def validate_if_due(self) -> bool:
        """Validate if a validation is due: add a row to the curve, and store the best weights.

        Returns:
            Whether a row was added.
        """
        if not self._validation_is_due():
            return False
        head_loss, control_loss = self._validation_losses()
        steps = self.step - self._last_validated
        row = CurveRow(
            step=self.step,
            train_loss=self._loss_sums[0] / steps,
            control_loss=self._loss_sums[1] / steps,
            validation_loss=head_loss,
            validation_control_loss=control_loss,
            backbone_lr=self._optimiser.param_groups[0]["lr"],
        )
        with delay_interrupts():
            if all(head_loss < earlier.validation_loss for earlier in self.rows):
                self._store_best_weights()
            self.rows.append(row)
            self._loss_sums = [0.0, 0.0]
        return True

    def best_network(self) -> TrainableNetwork:
        """Return the network, on the CPU, with the weights of the lowest validation loss.

        A recipe without patience stores no best weights; then it has the last ones.
        """
        if self._best_weights is not None:
            self._network.load_state_dict(self._best_weights)
        return self._network.cpu()

    def state_dict(self) -> dict[str, Any]:
        """Return the state as tensors, numbers, and lists and dicts of these."""
        return {
            "network": self._network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "step": self.step,
            "rows": [asdict(row) for row in self.rows],
            "loss_sums": self._loss_sums,
            "best_weights": self._best_weights,
        }

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        self._network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]
        self.rows = [CurveRow(**row) for row in state["rows"]]
        self._loss_sums, self._best_weights = state["loss_sums"], state["best_weights"]

    @property
    def _last_validated(self) -> int:
        return self.rows[-1].step if self.rows else 0

    def _validation_is_due(self) -> bool:
        at_interval = self.step % self._recipe.validate_every == 0
        at_end = self.step == self._recipe.iterations
        return self.step > self._last_validated and (at_interval or at_end)

    def _train_on(self, samples: Samples) -> tuple[float, float]:
        _seed_torch(self._job.device, self._job.seed, self.step)
        set_learning_rates(self._optimiser, self._recipe, self.step)
        inputs, labels = self._load_batch(self._images, samples)
        mixing = self._recipe.label_mixing * self.step / self._recipe.iterations
        self._network.train()
        losses = self._network.losses(inputs, labels, mixing, self._job.mixed_precision)
        main, control = losses.tolist()
        if not math.isfinite(main + control):
            raise TrainingError(
                f"the loss is {main} at step {self.step}; lower the learning rates and start again"
            )
        self._optimiser.zero_grad()
        losses.sum().backward()  # type: ignore[no-untyped-call]
        if self._recipe.gradient_clip is not None:
            self._network.clip_gradients(self._recipe.gradient_clip)
        self._optimiser.step()
        return main, control

    def _load_batch(self, images: LabelledImages, samples: Samples) -> tuple[Tensor, Tensor]:
        return load_batch(images, samples, self._job.seed, self._recipe.augmentation)

    def _validation_losses(self) -> tuple[float, float]:
        """Return the mean losses of head and control head, given the true earlier labels."""
        self._network.eval()
        total, pictures = np.zeros(2), 0
        for samples in validation_batches(len(self._validation), self._recipe):
            inputs, labels = self._load_batch(self._validation, samples)
            with torch.inference_mode():
                losses = self._network.losses(inputs, labels, 0.0, self._job.mixed_precision)
            total += np.array(losses.tolist()) * len(samples)
            pictures += len(samples)
        main, control = (total / pictures).tolist()
        return main, control

    def _store_best_weights(self) -> None:
        if self._recipe.patience is not None:
            weights = self._network.state_dict()
            self._best_weights = {
                name: value.to("cpu", copy=True) for name, value in weights.items()
            }


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Use deterministic torch operators inside the block, where torch has them for the device.

    Where it has none (the backward pass of adaptive pooling on CUDA), the ordinary operator is
    used. torch's random states and settings are restored at the end.
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
    """Seed torch so that dropout and drawn labels depend only on the step, not on earlier ones."""
    entropy = int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0])
    # torch.manual_seed would queue a call at every step while CUDA is not initialised.
    torch.default_generator.manual_seed(entropy)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(entropy)
