"""`mernet data draw`: a labelled data set of drawn scenes, for where there is no real one."""

from pathlib import Path
from typing import Annotated

import typer

from mernet.cli.learning.stage_progress import Stages
from mernet.cli.shared.output import note


def draw(
    folder: Annotated[Path, typer.Option("--out", help="Folder to draw into.")],
    images: Annotated[int, typer.Option(help="How many images.", min=1)] = 2400,
    seed: Annotated[int, typer.Option(help="Another seed gives other scenes.", min=0)] = 1,
    size: Annotated[int, typer.Option(help="Side in pixels.", min=64, max=1024)] = 256,
    dependent: Annotated[
        bool,
        typer.Option(
            "--dependent",
            help="Add a class that no picture shows and that comes with another, by chance; "
            "truth.csv holds the chances.",
        ),
    ] = False,
) -> None:
    """Draw scenes of known classes as pictures, named like products, with their labels.

    They prove that learning works and say nothing about Mars. A stopped drawing goes on.
    """
    from mernet.demo.data_set import draw_data_set

    with Stages() as stages:
        draw_data_set(
            folder,
            images,
            seed=seed,
            size=size,
            dependent=dependent,
            on_progress=lambda done, total: stages.report("Drawing", done, total, ""),
        )
    note(f"{images} labelled images are in {folder}; learn from them with `mernet train`.")
