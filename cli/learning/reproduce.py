"""`mernet reproduce`: the abstract's experiment, from the data set to its Table 1."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mernet.cli.learning.backbones import IMAGENET, Weights
from mernet.cli.learning.data import describe
from mernet.cli.learning.options import (
    Device,
    Frozen,
    GroupPattern,
    InputSize,
    Iterations,
    LabelledData,
    Seed,
    SplitFile,
)
from mernet.cli.learning.train import SPLIT_FILE, train, training_folder
from mernet.cli.shared.output import note, print_table, say

if TYPE_CHECKING:
    from mernet.model.training.evaluation.evaluate import Evaluation

CHECKPOINT = "mernet.safetensors"


def reproduce(
    data: LabelledData,
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
    """Run the abstract's experiment: split, train, calibrate, evaluate, and print its Table 1.

    Uses VGG-16, a classifier chain and the recipe `paper`. --frozen, --input-size and --iterations
    make it faster without a GPU. Table 1 shows the published figures beside ours for orientation;
    data or split may differ from the abstract's.
    """
    # Here because sklearn takes seconds to import, and --help starts fast without it.
    from mernet.cli.learning.evaluation import evaluate_checkpoint

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
    note("3. Evaluation")
    report = checkpoint.with_suffix(".report")
    _print_results(
        evaluate_checkpoint(checkpoint, data, report, None, None, group_pattern, seed, device)
    )


def _print_results(evaluation: "Evaluation") -> None:
    from mernet.model.training.evaluation.summary import headlines, table_1_rows  # as above

    for calibrated, title in ((False, "before"), (True, "after")):
        headers, rows = table_1_rows(evaluation, calibrated)
        if rows:
            say(f"\nTable 1 {title} calibration, published and ours", "bold")
            print_table(headers, rows)
    if not rows:
        note("Table 1 is not shown: it needs MERNet's classes and the threshold 0.9.")
    for sentence in headlines(evaluation):
        say(f"- {sentence}")
