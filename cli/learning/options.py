"""Options that several learning commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

RECIPE_PANEL = "Changes to the recipe"

LabelledData = Annotated[
    Path, typer.Option("--data", exists=True, help="Folder of a labelled data set, or label file.")
]
ClassNumbers = Annotated[
    Literal["chain"] | None,
    typer.Option(
        "--class-order",
        help="What class numbers without a list of classes mean: chain for MERNet's classes in "
        "chain order.",
    ),
]
SplitFile = Annotated[
    Path | None,
    typer.Option(
        "--split", exists=True, dir_okay=False, help="Split file, as `mernet data split` writes it."
    ),
]
GroupPattern = Annotated[
    str | None,
    typer.Option(
        "--group-pattern",
        metavar="REGEX",
        help="Regular expression; images with the same text in its first group, found in their "
        "file names, stay in one part. By default images of one rover, site and sequence do.",
    ),
]
Frozen = Annotated[
    bool,
    typer.Option(
        "--frozen",
        help="Leave the network unchanged and fit only the heads: minutes instead of days on a "
        "CPU.",
    ),
]
InputSize = Annotated[
    int,
    typer.Option(
        "--input-size",
        help="Width and height in pixels that images are resized to.",
        min=32,
        max=1024,
    ),
]
Iterations = Annotated[
    int | None,
    typer.Option("--iterations", help="Steps of fine-tuning.", min=1, rich_help_panel=RECIPE_PANEL),
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="cpu, cuda or cuda:N; by default CUDA if it is available."),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.", min=0)]
