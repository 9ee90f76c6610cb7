"""`mernet data draw`: draws a labelled data set of artificial scenes, for trials without data."""

from pathlib import Path
from typing import Annotated

import typer

from mernet.cli.learning.stage_progress import StageProgress
from mernet.cli.shared.output import note
from mernet.demo.data_set import draw_data_set


def draw(
    folder: Annotated[Path, typer.Option("--out", help="Folder of the data set to write.")],
    images: Annotated[int, typer.Option(help="Number of images.", min=1)] = 2400,
    seed: Annotated[int, typer.Option(help="Another seed draws other scenes.", min=0)] = 1,
    size: Annotated[int, typer.Option(help="Width and height in pixels.", min=64, max=1024)] = 256,
    dependent: Annotated[
        bool,
        typer.Option(
            "--dependent",
            help="Add a class that no picture shows and that depends on another class by chance; "
            "truth.csv holds its probabilities.",
        ),
    ] = False,
) -> None:
    """Draw artificial scenes of known classes, with their labels and with names like products.

    They show that training works; results on them say nothing about Mars. After an interruption,
    the same command continues.
    """
    with StageProgress() as stages:
        draw_data_set(
            folder,
            images,
            seed=seed,
            size=size,
            dependent=dependent,
            on_progress=lambda done, total: stages.report("Drawing", done, total, ""),
        )
    note(f"{images} labelled images are in {folder}; train on them with `mernet train`.")
