"""`mernet train`: trains on a labelled data set and writes a calibrated checkpoint."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mernet.cli.learning.backbones import IMAGENET, BackboneName, Weights, load_backbone
from mernet.cli.learning.image_groups import find_groups
from mernet.cli.learning.options import (
    RECIPE_PANEL,
    ClassNumbers,
    Device,
    Frozen,
    GroupPattern,
    InputSize,
    Iterations,
    LabelledData,
    Seed,
    SplitFile,
)
from mernet.cli.learning.stage_progress import StageProgress
from mernet.cli.shared.output import note
from mernet.model.architecture_name import ArchitectureName
from mernet.model.checkpoint import HeadKind
from mernet.model.training.data.data_set import DataSet, Part
from mernet.model.training.data.loading import load_data_set
from mernet.model.training.data.split import complete_split, read_split, write_split
from mernet.model.training.finetuning.recipes import RECIPES, Recipe, RecipeName
from mernet.pds.errors import BadNameError
from mernet.pds.product import ProductName

if TYPE_CHECKING:
    from mernet.model.training.train import TrainingPlan

SPLIT_FILE = "split.csv"
FINE_TUNING_OPTIONS = ("iterations", "batch_size", "repeat_threshold", "patience")
"""Options without effect with --frozen, since heads on fixed features are fitted in one step."""


def _require_safetensors(path: Path) -> Path:
    if path.suffix != ".safetensors":
        raise typer.BadParameter(f"{path} must end in .safetensors.")
    return path


Out = Annotated[
    Path,
    typer.Option(
        dir_okay=False, callback=_require_safetensors, help="Checkpoint (.safetensors) to write."
    ),
]
RecipeOption = Annotated[
    RecipeName,
    typer.Option(help="Settings of training: the abstract's (paper), or better ones (best)."),
]
HeadOption = Annotated[
    HeadKind,
    typer.Option(help="Classifier chain, independent classes, or softmax for one class per image."),
]
BatchSize = Annotated[
    int | None, typer.Option(help="Images per step.", min=1, rich_help_panel=RECIPE_PANEL)
]
Variants = Annotated[
    int | None,
    typer.Option(
        help="Pictures created from each image, the original included; 1 by default with --frozen.",
        min=1,
        rich_help_panel=RECIPE_PANEL,
    ),
]
LabelMixing = Annotated[
    float | None,
    typer.Option(
        help="Share of images for which the chain is trained on labels that it drew itself.",
        min=0,
        max=1,
        rich_help_panel=RECIPE_PANEL,
    ),
]
RepeatThreshold = Annotated[
    float | None,
    typer.Option(
        help="Show classes in a smaller share of images than this more often.",
        min=0,
        max=1,
        rich_help_panel=RECIPE_PANEL,
    ),
]
Patience = Annotated[
    int | None,
    typer.Option(
        help="Stop after this many validations without a lower loss.",
        min=1,
        rich_help_panel=RECIPE_PANEL,
    ),
]
RecipeChanges = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Change any other field (docs/learning.md lists them); may be repeated.",
        rich_help_panel=RECIPE_PANEL,
    ),
]
Name = Annotated[
    str | None, typer.Option(help="Name of the classifier; by default the checkpoint's file name.")
]


def train(
    data: LabelledData,
    out: Out,
    recipe: RecipeOption = RecipeName.PAPER,
    backbone: BackboneName = ArchitectureName.VGG16,
    weights: Weights = IMAGENET,
    head: HeadOption = HeadKind.CHAIN,
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
    recipe_changes: RecipeChanges = None,
    seed: Seed = 0,
    device: Device = None,
    name: Name = None,
    class_order: ClassNumbers = None,
) -> None:
    """Train on labelled images, calibrate on others, and write a checkpoint.

    The folder .training beside the checkpoint stores the split, the loss curves and the state of an
    interrupted training; the same command continues it. A control head of independent classes is
    trained as well; `mernet evaluate` compares it with the chain.
    """
    from mernet.model.training.train import TrainingPlan  # torch: --help starts fast without it

    changed_recipe = _change_recipe(
        recipe,
        frozen,
        iterations=iterations,
        batch_size=batch_size,
        variants=variants,
        label_mixing=label_mixing,
        repeat_threshold=repeat_threshold,
        patience=patience,
        **_parse_recipe_changes(recipe_changes or []),
    )
    plan = TrainingPlan(
        name=name or out.stem,
        head=head,
        recipe=changed_recipe,
        weights=weights,
        input_size=input_size,
        frozen=frozen,
        seed=seed,
        device=_select_device(device, frozen),
    )
    loaded = load_data_set(data, class_order)
    plan = replace(plan, product_types=_product_types(loaded.names))
    parts = parts_for(loaded, split, group_pattern, seed)
    _write_checkpoint(loaded, parts, backbone, plan, out)
    note(f"The checkpoint is {out}; evaluate it with: mernet evaluate {out} --data {data}")


def _product_types(names: Sequence[str]) -> tuple[str, ...]:
    """Return the types of the products that the file names are of; empty if one names none."""
    try:
        return tuple(sorted({ProductName.parse(name).product_type for name in names}))
    except BadNameError:
        return ()


def training_folder(checkpoint: Path) -> Path:
    """Return the folder in which training stores the split, curves and state of a checkpoint."""
    return checkpoint.with_suffix(".training")


def parts_for(
    data: DataSet, split: Path | None, group_pattern: str | None, seed: int
) -> tuple[Part, ...]:
    """Return the part of each image: from the split file if given, else the data set's, else new.

    Raises:
        DataSetError: The split file does not match the data set, or parts cannot be created.
    """
    if split is not None:
        return read_split(split, data.names)
    groups = find_groups(data.names, group_pattern)
    if {Part.TRAIN, Part.VALIDATION} <= set(data.parts) and Part.TEST not in data.parts:
        note("The data set has no test part: half of its validation part is used as test part.")
    elif {Part.TRAIN, Part.TEST} <= set(data.parts) and Part.VALIDATION not in data.parts:
        note("The data set has no validation part: it is taken from the train part.")
    return complete_split(data, groups, seed)


def _write_checkpoint(
    data: DataSet,
    parts: tuple[Part, ...],
    backbone: ArchitectureName,
    plan: "TrainingPlan",
    out: Path,
) -> None:
    from mernet.model.training.train import train as train_checkpoint  # as in `train`

    network = load_backbone(backbone, plan.weights, plan.seed)
    folder = training_folder(out)
    try:
        with StageProgress() as stages:
            train_checkpoint(
                data, parts, network, plan, out=out, folder=folder, progress=stages.report
            )
    except KeyboardInterrupt:
        note("Interrupted; the same command continues from here.")
        raise
    # Written last, so that an existing checkpoint keeps its split until it is replaced.
    write_split(folder / SPLIT_FILE, data.names, parts)


def _change_recipe(name: RecipeName, frozen: bool, **changes: Any) -> Recipe:
    if frozen:
        unused = [option for option in FINE_TUNING_OPTIONS if changes[option] is not None]
        if unused:
            options = ", ".join(f"--{option.replace('_', '-')}" for option in unused)
            note(f"Ignored with --frozen, since they are for fine-tuning only: {options}.")
        changes["variants"] = changes["variants"] or 1
    return RECIPES[name].changed(**changes)


def _parse_recipe_changes(words: list[str]) -> dict[str, Any]:
    """Parse FIELD=VALUE; FIELD may be a part of a field, such as augmentation.rotation."""
    changes: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise typer.BadParameter(f"--set {word}: write FIELD=VALUE.")
        field, _, inner = name.partition(".")
        changes[field] = {**changes.get(field, {}), inner: value} if inner else value
    return changes


def _select_device(wanted: str | None, frozen: bool) -> str:
    from mernet.model.classifier import select_device  # as in `train`

    device = str(select_device(wanted))
    if not frozen and device == "cpu":
        note("Without a GPU, fine-tuning takes days; --frozen takes minutes.")
    return device
