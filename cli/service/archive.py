"""`mernet archive`: what the service is told about archives."""

from typing import Annotated

import typer

from mernet.cli.shared.connections import ledger
from mernet.cli.shared.output import note
from mernet.db import obstacles
from mernet.db.ledger import move_archive
from mernet.db.obstacles import ObstacleKind
from mernet.pds.archive import folder_url
from mernet.worker.archive_hosts import host_of


def moved(
    old: Annotated[
        str, typer.Argument(help="URL or path with which the archive's addresses began.")
    ],
    new: Annotated[str, typer.Argument(help="URL or path that has taken its place.")],
) -> None:
    """Tell the service that an archive or folder has moved: its products keep their results.

    Their addresses begin with NEW instead of OLD from now on, also in open runs. `mernet show`
    prints where a product was before. To undo it, give the addresses the other way round.
    """
    before, after = folder_url(old), folder_url(new)
    engine = ledger()
    products = move_archive(engine, before, after)
    if host := host_of(before):
        obstacles.clear(engine, ObstacleKind.ARCHIVE_HOST, host)
    note(f"Products that are at {after} now: {products:,}. `mernet run new` checks what it lists.")
