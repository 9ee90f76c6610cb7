"""`mernet archive`: what the service is told about archives."""

from typing import Annotated

import typer

from mernet.cli.shared.connections import ledger
from mernet.cli.shared.output import note
from mernet.db import obstacles
from mernet.db.ledger import move_archive
from mernet.db.obstacles import ObstacleKind
from mernet.pds.archive import folder_url
from mernet.pds.disk import is_file_url, path_from_url
from mernet.pds.errors import BadArchiveError
from mernet.printable import quoted
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
    _require_folder(new, after)
    engine = ledger()
    products = move_archive(engine, before, after)
    if host := host_of(before):
        obstacles.clear(engine, ObstacleKind.ARCHIVE_HOST, host)
    note(f"Products that are at {after} now: {products:,}. `mernet run new` checks what it lists.")


def _require_folder(new: str, url: str) -> None:
    """Refuse a folder that is not there: a mistyped one would be in every published address."""
    if is_file_url(url) and not path_from_url(url).is_dir():
        raise BadArchiveError(
            f"{quoted(new)} is neither a URL nor an existing folder; give the place where the "
            "archive is now"
        )
