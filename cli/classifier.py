"""`mernet classifier`: the registered checkpoints."""

from pathlib import Path
from typing import Annotated

import typer

from cli.context import ledger
from cli.output import AsJson, note, print_json, print_table
from worker.settings import settings

app = typer.Typer(
    no_args_is_help=True,
    help="The registered classifiers. One is current: new runs use it, searches see its classes.",
)


@app.command()
def add(
    checkpoint: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A checkpoint (.safetensors).")
    ],
    name: Annotated[
        str | None, typer.Option(help="Its name here; by default the one in the checkpoint.")
    ] = None,
    promote: Annotated[
        bool, typer.Option("--promote", help="Make it the current one too.")
    ] = False,
) -> None:
    """Register a checkpoint, and keep a copy of it under its sha256 in the data folder."""
    from db import classifiers
    from model.checkpoint import read_header
    from worker.checkpoints import check_publishable, keep

    header = read_header(checkpoint)
    check_publishable(checkpoint, header)
    engine = ledger()
    path, sha256 = keep(checkpoint, settings().checkpoints)
    added = classifiers.add(
        engine,
        classifiers.NewClassifier(
            sha256=sha256,
            name=name or header.name,
            path=str(path),
            threshold=header.threshold,
            header=header.model_dump(mode="json"),
        ),
    )
    note(f"Registered {added.name} (sha256 {sha256[:12]}...), kept as {path}")
    if promote:
        promote_named(added.name)


@app.command("promote")
def promote_named(
    name: Annotated[str, typer.Argument(help="Name of a registered classifier.")],
) -> None:
    """Make a classifier the current one: new runs use it, searches see its classes at once."""
    from db import classifiers

    promoted = classifiers.promote(ledger(), name)
    note(f"{promoted.name} is current.")


@app.command("list")
def list_them(as_json: AsJson = False) -> None:
    """List the registered classifiers, the oldest first."""
    from db import classifiers

    known = classifiers.list_all(ledger())
    if as_json:
        print_json(
            [
                {
                    "name": each.name,
                    "sha256": each.sha256,
                    "current": each.is_current,
                    "threshold": each.threshold,
                    "added_at": each.added_at,
                    "path": each.path,
                    "header": dict(each.header),
                }
                for each in known
            ]
        )
        return
    print_table(
        ("name", "current", "threshold", "added", "sha256"),
        [
            (c.name, "yes" if c.is_current else "", c.threshold, c.added_at, c.sha256[:12])
            for c in known
        ],
    )
    if not known:
        note("No classifier is registered; add one with `mernet classifier add FILE --promote`.")
