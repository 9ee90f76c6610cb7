"""`mernet data consensus`: labels from volunteers' choices."""

from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import typer

from mernet.cli.shared.output import AsJson, note, print_json, print_table
from mernet.model.training.data.consensus import Consensus, compute_consensus, write_label_file
from mernet.model.training.data.zooniverse import read_export
from mernet.printable import quoted

DISPUTED_SHOWN = 5


def consensus(
    export: Annotated[Path, typer.Argument(help="Zooniverse's CSV export of classifications.")],
    file: Annotated[Path, typer.Option("--out", help="Label file (CSV) to write.")],
    task: Annotated[
        str | None,
        typer.Option(help="Use only answers to this task, such as T0; by default to all tasks."),
    ] = None,
    workflow: Annotated[
        str | None, typer.Option(help="Use only classifications of this workflow (its number).")
    ] = None,
    retirement: Annotated[
        int,
        typer.Option(help="Images seen by fewer volunteers than this get no labels yet.", min=1),
    ] = 5,
    threshold: Annotated[
        float,
        typer.Option(
            help="A class becomes a label if at least this share of the volunteers chose it.",
            min=0,
            max=1,
        ),
    ] = 0.5,
    as_json: AsJson = False,
) -> None:
    """Create labels from volunteers' choices; only a volunteer's last vote on an image counts.

    The label file has 0 or 1 for each class, the share of volunteers who chose it, and the number
    of volunteers. Fleiss' kappa measures their agreement on a class: 1 is perfect, 0 is chance.
    """
    result = compute_consensus(
        read_export(export, task, workflow), retirement=retirement, threshold=threshold
    )
    write_label_file(file, result)
    if as_json:
        print_json(_consensus_as_dict(result))
    else:
        _print_consensus(result)
    note(
        f"{file} has labels for {len(result.images)} images; {len(result.waiting)} images have too "
        "few volunteers yet."
    )
    if result.unknown:
        choices = ", ".join(
            f"{quoted(choice)} ({count})" for choice, count in result.unknown.items()
        )
        note(f"Choices that are not MERNet classes were ignored: {choices}.")


def _consensus_as_dict(result: Consensus) -> dict[str, Any]:
    return {
        "images": len(result.images),
        "threshold": result.threshold,
        "classes": [
            {"code": code, "images": images, "kappa": kappa}
            for code, images, kappa in _agreement_by_class(result)
        ],
        "disputed": dict(result.disputed()),
        "waiting": dict(result.waiting),
        "unknown": dict(result.unknown),
    }


def _print_consensus(result: Consensus) -> None:
    print_table(("class", "images", "kappa"), _agreement_by_class(result))
    print_table(("most disputed image", "labels in dispute"), result.disputed()[:DISPUTED_SHOWN])


def _agreement_by_class(result: Consensus) -> list[tuple[str, int, float | None]]:
    """Return code, number of images and Fleiss' kappa (None if undefined) of each class."""
    kappa = [value if isfinite(value) else None for value in result.kappa().tolist()]
    return list(zip(result.classes, result.labels.sum(axis=0).tolist(), kappa, strict=True))
