"""`mernet train`: from a labelled data set to a calibrated checkpoint."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mernet.cli.learning.backbones import (
    IMAGENET,
    Architecture,
    BackboneName,
    Weights,
    chosen_backbone,
)
from mernet.cli.learning.groups import GroupPattern, groups_to_keep
from mernet.cli.learning.stage_progress import Stages
from mernet.cli.shared.output import note

if TYPE_CHECKING:
    from mernet.model.training.data.data_set import DataSet, Part
    from mernet.model.training.finetuning.recipes import Recipe
    from mernet.model.training.train import TrainingPlan

SPLIT_FILE = "split.csv"
OF_FINE_TUNING = ("iterations", "batch_size", "repeat_threshold", "patience")
"""Options that heads on frozen features, fitted all at once, have no use for."""


class RecipeName(StrEnum):
    """Names that `--recipe` takes."""

    PAPER = "paper"
    BEST = "best"


class HeadName(StrEnum):
    """Names that `--head` takes."""

    CHAIN = "chain"
    INDEPENDENT = "independent"
    SOFTMAX = "softmax"


def _safetensors(path: Path) -> Path:
    if path.suffix != ".safetensors":
        raise typer.BadParameter(f"{path} must end in .safetensors.")
    return path


Data = Annotated[
    Path, typer.Option(exists=True, help="Folder of a labelled data set, or its label file.")
]
SplitFile = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="Split file, as `mernet data split` writes it."),
]
Out = Annotated[
    Path,
    typer.Option(dir_okay=False, callback=_safetensors, help="Checkpoint (.safetensors) to write."),
]
Frozen = Annotated[
    bool,
    typer.Option(
        "--frozen",
        help="Leave the network as it is and fit heads on its features: minutes on a CPU.",
    ),
]
InputSize = Annotated[
    int, typer.Option(help="Side in pixels that images are resized to.", min=32, max=1024)
]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda or cuda:N; by default CUDA where there is one.")
]
Iterations = Annotated[
    int | None, typer.Option(help="Steps of fine-tuning, instead of the recipe's.", min=1)
]
Variants = Annotated[
    int | None,
    typer.Option(
        help="Pictures made of each image, instead of the recipe's (with --frozen: 1).", min=1
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any other field of the recipe, as docs/learning.md lists them; may be repeated.",
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of all that is random.", min=0)]

RecipeOption = Annotated[RecipeName, typer.Option(help="The abstract's, or a better one.")]
HeadOption = Annotated[
    HeadName, typer.Option(help="softmax is for data sets with one class an image.")
]
BatchSize = Annotated[
    int | None, typer.Option(help="Images a step, instead of the recipe's.", min=1)
]
LabelMixing = Annotated[
    float | None,
    typer.Option(help="Share of images whose earlier labels the chain draws itself.", min=0, max=1),
]
RepeatThreshold = Annotated[
    float | None,
    typer.Option(help="Classes in a smaller share of images come up more often.", min=0, max=1),
]
Patience = Annotated[
    int | None, typer.Option(help="Validations without a gain before the end.", min=1)
]
Name = Annotated[str | None, typer.Option(help="Name of the classifier; by default the file's.")]


def train(
    data: Data,
    out: Out,
    recipe: RecipeOption = RecipeName.PAPER,
    backbone: BackboneName = Architecture.VGG16,
    weights: Weights = IMAGENET,
    head: HeadOption = HeadName.CHAIN,
    frozen: Frozen = False,
    input_size: InputSize = 224,
    split: SplitFile = None,
    group_pattern: GroupPattern = None,
    iterations: Iterations = None,
    batch_size: BatchSize = None,
    variants: Variants = None,
    label_mixing: LabelMixing = None,
    repeat_threshold: RepeatThreshold = None,
    patience: Patience = None,
    other: Settings = None,
    seed: Seed = 0,
    device: Device = None,
    name: Name = None,
) -> None:
    """Learn from labelled images, calibrate on others, and write a checkpoint.

    Beside the checkpoint, a folder `.training` keeps the split, the loss curves and what a stopped
    run goes on from: call the same command again. A control of independent classes learns along;
    `mernet evaluate` compares the two.
    """
    from mernet.model.training.data.loading import load_data_set

    chosen = _recipe(
        recipe,
        frozen,
        iterations=iterations,
        batch_size=batch_size,
        variants=variants,
        label_mixing=label_mixing,
        repeat_threshold=repeat_threshold,
        patience=patience,
        **_settings(other or []),
    )
    plan = _plan(name or out.stem, head, chosen, weights, input_size, frozen, seed, device)
    loaded = load_data_set(data)
    _write_checkpoint(loaded, parts_for(loaded, split, group_pattern, seed), backbone, plan, out)
    note(f"The checkpoint is {out}; judge it with: mernet evaluate {out} --data {data}")


def training_folder(checkpoint: Path) -> Path:
    """Where the training of a checkpoint keeps its split, curves and state."""
    return checkpoint.with_suffix(".training")


def _write_checkpoint(
    data: "DataSet", parts: "tuple[Part, ...]", backbone: str, plan: "TrainingPlan", out: Path
) -> None:
    from mernet.model.training.data.split import write_split
    from mernet.model.training.train import train as train_checkpoint

    network = chosen_backbone(backbone, plan.weights, plan.seed)
    folder = training_folder(out)
    try:
        with Stages() as stages:
            train_checkpoint(
                data, parts, network, plan, out=out, folder=folder, progress=stages.report
            )
    except KeyboardInterrupt:
        note("Stopped; the same command goes on from here.")
        raise
    # Last, so that a checkpoint that was there keeps its split until another one is there.
    write_split(folder / SPLIT_FILE, data.names, parts)


def _recipe(name: RecipeName, frozen: bool, **changes: Any) -> "Recipe":
    from mernet.model.training.finetuning.recipes import RECIPES

    if frozen:
        unused = [option for option in OF_FINE_TUNING if changes[option] is not None]
        if unused:
            note(f"{', '.join(unused)}: of fine-tuning alone, and without effect with --frozen.")
        changes["variants"] = changes["variants"] or 1
    return RECIPES[name].changed(**changes)


def _plan(
    name: str,
    head: HeadName,
    recipe: "Recipe",
    weights: str,
    input_size: int,
    frozen: bool,
    seed: int,
    device: str | None,
) -> "TrainingPlan":
    from mernet.model.checkpoint import HeadKind
    from mernet.model.classifier import select_device
    from mernet.model.training.train import TrainingPlan

    found = str(select_device(device))
    if not frozen and found == "cpu":
        note("No GPU: fine-tuning runs on the CPU, which takes days; --frozen takes minutes.")
    return TrainingPlan(name, HeadKind(head), recipe, weights, input_size, frozen, seed, found)


def parts_for(
    data: "DataSet", split: Path | None, group_pattern: str | None, seed: int
) -> "tuple[Part, ...]":
    """The parts of a split file, else the data set's own, else new ones."""
    from mernet.model.training.data.data_set import Part
    from mernet.model.training.data.split import complete_split, read_split

    if split is not None:
        return read_split(split, data.names)
    groups = groups_to_keep(data.names, group_pattern)
    if Part.TRAIN in data.parts and not {Part.VALIDATION, Part.TEST} <= set(data.parts):
        note("The data set lacks a part of its own; it is made from another one.")
    return complete_split(data, groups, seed)


def _settings(words: list[str]) -> dict[str, Any]:
    """Parse NAME=VALUE pairs; NAME may be a part of a field, such as augmentation.rotation."""
    settings: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise typer.BadParameter(f"--set {word}: write NAME=VALUE.")
        field, _, inner = name.partition(".")
        settings[field] = {**settings.get(field, {}), inner: value} if inner else value
    return settings
