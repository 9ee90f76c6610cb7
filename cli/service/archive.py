"""`mernet archive`: what the service is told about archives."""

from collections.abc import Callable
from functools import partial
from typing import Annotated

import typer

from mernet.cli.shared.connections import ledger
from mernet.cli.shared.output import note
from mernet.db import obstacles
from mernet.db.ledger import Moved, move_archive
from mernet.db.obstacles import ObstacleKind
from mernet.pds.archive import at_new_address, folder_url
from mernet.pds.disk import is_file_url, path_from_url
from mernet.pds.errors import BadArchiveError
from mernet.printable import quoted
from mernet.worker.archive_hosts import host_of
from mernet.worker.settings import settings


def moved(
    old: Annotated[
        str, typer.Argument(help="URL or path with which the archive's addresses began.")
    ],
    new: Annotated[str, typer.Argument(help="URL or path that has taken its place.")],
) -> None:
    """Tell the service that an archive or folder has moved: its products keep their results.

    Their addresses begin with NEW instead of OLD from now on, also in open runs. `mernet show`
    prints where a product was before. To undo it, give the addresses the other way round; products
    that were at NEW before then go to OLD, too.
    """
    before, after = folder_url(old), folder_url(new)
    _require_folder(new, after)
    engine = ledger()
    rename = partial(at_new_address, old=before, new=after)
    moved = move_archive(engine, before, after, rename)
    if host := host_of(before):
        obstacles.clear(engine, ObstacleKind.ARCHIVE_HOST, host)
    _report(moved, after)
    _note_settings_to_change(rename)


def _report(moved: Moved, new: str) -> None:
    """Print what is at the new address now."""
    there = f" {moved.there_before:,} were there before." if moved.there_before else ""
    note(f"Products that have moved to {new} now: {moved.products:,}.{there}")
    if moved.runs:
        note(f"Open runs that read it there: {', '.join(map(str, moved.runs))}.")
    note("`mernet run new` checks what it lists.")


def _note_settings_to_change(rename: Callable[[str], str]) -> None:
    """Name the settings of the automatic check that hold the old address."""
    config = settings()
    if config.ingest_seconds is None:
        return
    if config.ingest_mirror is None:
        setting, names = "MERNET_INGEST_ARCHIVES", config.ingest_archives
    else:
        setting, names = "MERNET_INGEST_MIRROR", (config.ingest_mirror,)
    for name in names:
        if (address := rename(name)) != name:
            note(
                f"{setting} still holds {quoted(name)}: replace it with {quoted(address)}, and "
                "start the service again."
            )


def _require_folder(new: str, url: str) -> None:
    """Refuse a folder that is not there: a mistyped one would be in every published address."""
    if is_file_url(url) and not path_from_url(url).is_dir():
        raise BadArchiveError(
            f"{quoted(new)} is neither a URL nor an existing folder; give the place where the "
            "archive is now"
        )
