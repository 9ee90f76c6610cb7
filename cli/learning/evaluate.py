"""`mernet evaluate`: evaluates a checkpoint on labelled images that it was not trained on."""

from pathlib import Path
from typing import Annotated

import typer

from mernet.cli.learning.evaluation_split import EvaluationSplit
from mernet.cli.learning.options import (
    ClassNumbers,
    Device,
    GroupPattern,
    LabelledData,
    Seed,
    SplitFile,
)
from mernet.cli.shared.output import AsJson, print_table, say


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint (.safetensors).")],
    data: LabelledData,
    report: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Folder of the report; by default beside the checkpoint (.report)."
        ),
    ] = None,
    split: SplitFile = None,
    part: Annotated[
        EvaluationSplit | None,
        typer.Option(
            help="Images to evaluate on: by default test; with a data set that the checkpoint was "
            "not trained on, all."
        ),
    ] = None,
    group_pattern: GroupPattern = None,
    seed: Seed = 0,
    device: Device = None,
    class_order: ClassNumbers = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a checkpoint: calibration, precision, recall, and the chain against its control.

    Writes evaluation.html for a browser, evaluation.json and evaluation.csv. Without --split, the
    split that `mernet train` stored beside the checkpoint tells which images are for testing.
    """
    # Here because sklearn and torch take seconds to import, and --help starts fast without them.
    from mernet.cli.learning.evaluation import evaluate_checkpoint
    from mernet.model.training.evaluation.summary import headlines, summary_rows

    folder = report or checkpoint.with_suffix(".report")
    evaluation = evaluate_checkpoint(
        checkpoint, data, folder, split, part, group_pattern, seed, device, class_order
    )
    if as_json:
        typer.echo((folder / "evaluation.json").read_text())
        return
    print_table(*summary_rows(evaluation))
    for sentence in headlines(evaluation):
        say(f"- {sentence}")
