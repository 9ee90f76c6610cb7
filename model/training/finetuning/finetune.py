"""Fine-tuning: trains a network and its head end to end on labelled pictures.

A step depends only on the job and on the number of the step. So a stopped run continues from its
last saved step without any saved random state, and ends with the weights of an uninterrupted run:
bit for bit on a CPU with the same number of threads, and on CUDA as far as torch has deterministic
operators.
"""

from dataclasses import astuple, dataclass, fields
from pathlib import Path

import torch

from mernet.model.backbone import Backbone, restore_backbone
from mernet.model.chain import ChainHead
from mernet.model.checkpoint import Head, HeadKind
from mernet.model.errors import TrainingError
from mernet.model.training.finetuning.batches import LabelledImages
from mernet.model.training.finetuning.job import FineTuningJob
from mernet.model.training.finetuning.recipes import Recipe
from mernet.model.training.finetuning.training_loop import CurveRow, TrainingLoop, deterministic
from mernet.model.training.finetuning.training_state import load_state, save_state
from mernet.model.training.progress import ProgressCallback
from mernet.model.training.text_files import write_csv

CURVES_FILE = "curves.csv"
STAGE = "Fine-tuning"


@dataclass(frozen=True, slots=True, eq=False)
class FineTunedModel:
    """The result of fine-tuning: network (on the CPU), head, control head and loss curve."""

    backbone: Backbone
    head: Head
    control: ChainHead
    curve: tuple[CurveRow, ...]


def fine_tune(
    backbone: Backbone,
    images: LabelledImages,
    validation: LabelledImages,
    recipe: Recipe,
    *,
    head: HeadKind,
    folder: Path,
    seed: int = 0,
    device: str = "cpu",
    mixed_precision: bool = True,
    save_every: int = 1000,
    progress: ProgressCallback | None = None,
) -> FineTunedModel:
    """Train a copy of the backbone with a head and a control head of independent classes.

    Args:
        backbone: The network to start from; stays unchanged.
        images: Images to train on.
        validation: Images to validate on, of the same size and with the same classes.
        recipe: How to train.
        head: Kind of head.
        folder: Folder of the state, saved every `save_every` steps, at the end and on Ctrl-C, and
            of the loss curve, written at each validation. A call with the folder of an equal job
            continues where that one stopped.
        seed: Seed of everything random.
        device: Name of a torch device.
        mixed_precision: Compute the network in bfloat16; on CUDA only.
        save_every: Steps between two saved states.
        progress: Called after each step, with the head's loss as remark.

    Raises:
        TrainingError: Images, labels and head do not match, the folder holds the state of another
            job, the loss is not finite, or the device's memory is too small.
        BackboneError: The network does not accept pictures of this size.
    """
    target = torch.device(device)
    mixed = mixed_precision and target.type == "cuda"
    job = FineTuningJob(backbone, images, validation, recipe, head, seed, target, mixed)
    try:
        with deterministic(target):
            loop = _run_loop(job, folder, save_every, progress)
    except torch.cuda.OutOfMemoryError as error:
        raise TrainingError(
            f"a batch of {recipe.batch_size} pictures of {images.size} pixels does not fit in the "
            f"memory of {target}; use a smaller batch size or input size"
        ) from error
    best = loop.best_network()
    network = restore_backbone(backbone.name, best.network.state_dict())
    return FineTunedModel(network, best.head.to_head(), best.control.to_head(), tuple(loop.rows))


def _run_loop(
    job: FineTuningJob, folder: Path, save_every: int, progress: ProgressCallback | None
) -> TrainingLoop:
    """Train until the job is done, and leave its state and curve in the folder."""
    fingerprint = job.fingerprint()
    loop = TrainingLoop(job, load_state(folder, fingerprint))
    try:
        while True:
            if loop.validate_if_due():
                write_curve(folder / CURVES_FILE, loop.rows)
            if loop.finished:
                break
            loss, _control_loss = loop.train_step()
            if loop.step % save_every == 0:
                save_state(folder, fingerprint, loop.state_dict())
            if progress is not None:
                progress(STAGE, loop.step, job.recipe.iterations, f"loss {loss:.3f}")
    except KeyboardInterrupt:
        save_state(folder, fingerprint, loop.state_dict())
        raise
    write_curve(folder / CURVES_FILE, loop.rows)
    save_state(folder, fingerprint, loop.state_dict())
    return loop


def write_curve(path: Path, rows: list[CurveRow]) -> None:
    """Write the loss curve atomically as CSV, one row per validation."""
    write_csv(path, [field.name for field in fields(CurveRow)], map(astuple, rows))
