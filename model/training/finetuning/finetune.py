"""Fine-tuning: a network and its head learn end to end from labelled pictures.

What a step does depends on the settings, the seed and the step's number alone. So a run that was
stopped goes on from its last saved step without any random state, and ends with the weights that
it would have had: bit for bit on a CPU with the same number of threads, and on CUDA as far as
torch has repeatable operators.
"""

from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import torch

from mernet.model.backbone import Backbone, restore_backbone
from mernet.model.chain import ChainHead
from mernet.model.checkpoint import HeadKind
from mernet.model.errors import TrainingError
from mernet.model.softmax import SoftmaxHead
from mernet.model.training.finetuning.batches import Images
from mernet.model.training.finetuning.loop import CurveRow, Tuning, repeatable
from mernet.model.training.finetuning.recipes import Recipe
from mernet.model.training.finetuning.resume import load_state, save_state
from mernet.model.training.finetuning.task import Task
from mernet.model.training.text_files import write_csv

CURVES_FILE = "curves.csv"

Progress = Callable[[int, int, tuple[float, float]], None]
"""Gets (steps done, steps at most, losses of head and control in the last step)."""


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """What fine-tuning gives: the network on the CPU, its head, the control, and the curve."""

    backbone: Backbone
    head: ChainHead | SoftmaxHead
    control: ChainHead
    curve: tuple[CurveRow, ...]


def fine_tune(
    backbone: Backbone,
    images: Images,
    validation: Images,
    recipe: Recipe,
    *,
    head: HeadKind,
    folder: Path,
    seed: int = 0,
    device: str = "cpu",
    mixed_precision: bool = True,
    save_every: int = 1000,
    progress: Progress | None = None,
) -> Tuned:
    """Train a copy of the backbone with a head and a control of independent classes.

    `folder` holds the state, saved every `save_every` steps, at the end and on Ctrl-C, and the
    curve, written at each validation; a call with a folder of the same settings goes on where
    that one stopped. mixed_precision: bfloat16 in the network, on CUDA only.

    Raises TrainingError where pictures, labels and head do not belong together, the folder's state
    is of other settings, the loss is no number or the device's memory is too small; BackboneError
    where the network does not take pictures of this size.
    """
    target = torch.device(device)
    mixed = mixed_precision and target.type == "cuda"
    task = Task(backbone, images, validation, recipe, head, seed, target, mixed)
    try:
        with repeatable(target):
            tuning = _run(task, folder, save_every, progress)
    except torch.cuda.OutOfMemoryError as error:
        raise TrainingError(
            f"a batch of {recipe.batch_size} does not fit the memory of {target}; lower "
            "--batch-size or the input size"
        ) from error
    learner = tuning.best_learner()
    network = restore_backbone(backbone.name, learner.network.state_dict())
    return Tuned(network, learner.head.result(), learner.control.result(), tuple(tuning.rows))


def _run(task: Task, folder: Path, save_every: int, progress: Progress | None) -> Tuning:
    """Train until all is done, and leave state and curve in the folder."""
    settings = task.settings()
    tuning = Tuning(task, load_state(folder, settings))
    try:
        while True:
            if tuning.validate_if_due():
                write_curve(folder / CURVES_FILE, tuning.rows)
            if tuning.finished:
                break
            losses = tuning.advance()
            if tuning.step % save_every == 0:
                save_state(folder, settings, tuning.state_dict())
            if progress is not None:
                progress(tuning.step, task.recipe.iterations, losses)
    except KeyboardInterrupt:
        save_state(folder, settings, tuning.state_dict())
        raise
    write_curve(folder / CURVES_FILE, tuning.rows)
    save_state(folder, settings, tuning.state_dict())
    return tuning


def write_curve(path: Path, rows: list[CurveRow]) -> None:
    """Write the curve as CSV, one row a validation; the file appears whole or not at all."""
    write_csv(path, [field.name for field in fields(CurveRow)], map(astuple, rows))
