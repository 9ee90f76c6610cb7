"""`mernet reproduce`: the abstract's experiment, from the data set to its Table 1."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mernet.cli.learning.backbones import IMAGENET, Weights
from mernet.cli.learning.data import describe
from mernet.cli.learning.evaluate import judge
from mernet.cli.learning.groups import GroupPattern
from mernet.cli.learning.train import (
    SPLIT_FILE,
    Data,
    Device,
    Frozen,
    InputSize,
    Iterations,
    Seed,
    SplitFile,
    train,
    training_folder,
)
from mernet.cli.shared.output import note, out, print_table

if TYPE_CHECKING:
    from mernet.model.training.evaluation.evaluate import Evaluation

CHECKPOINT = "mernet.safetensors"


def reproduce(
    data: Data,
    folder: Annotated[
        Path, typer.Option("--out", help="Folder for checkpoint, split, curves and report.")
    ] = Path("reproduction"),
    weights: Weights = IMAGENET,
    frozen: Frozen = False,
    input_size: InputSize = 224,
    split: SplitFile = None,
    group_pattern: GroupPattern = None,
    iterations: Iterations = None,
    seed: Seed = 0,
    device: Device = None,
) -> None:
    """Run the abstract's experiment: split, train, calibrate, describe, judge, print its Table 1.

    VGG-16, a chain, the recipe `paper`. The options make it smaller where there is no GPU. The
    published figures stand beside ours for orientation: data or split are others.
    """
    checkpoint = folder / CHECKPOINT
    note("1. Training and calibration")
    train(
        data,
        checkpoint,
        weights=weights,
        frozen=frozen,
        input_size=input_size,
        split=split,
        group_pattern=group_pattern,
        iterations=iterations,
        seed=seed,
        device=device,
    )
    note("2. The data set and its parts")
    describe(data, split=training_folder(checkpoint) / SPLIT_FILE)
    note("3. Judgement")
    report = checkpoint.with_suffix(".report")
    _print(judge(checkpoint, data, report, None, None, group_pattern, seed, device))


def _print(found: "Evaluation") -> None:
    from mernet.model.training.evaluation.summary import headlines, table_1_rows

    for calibrated, title in ((False, "before"), (True, "after")):
        headers, rows = table_1_rows(found, calibrated)
        if rows:
            out.print(f"\nTable 1 {title} calibration, theirs and ours", style="bold")
            print_table(headers, rows)
    if not rows:
        note("No Table 1: it is of MERNet's classes above 0.9.")
    for sentence in headlines(found):
        out.print(f"- {sentence}", markup=False, soft_wrap=True)
