"""`mernet db`: the tables in Postgres, and logins that may only read."""

import sys
from typing import Annotated

import typer

from mernet.cli.shared.connections import ledger, start_embedded
from mernet.cli.shared.output import note
from mernet.db import migrate
from mernet.db.engine import connect, shown_url
from mernet.db.reader_logins import create_reader
from mernet.worker.errors import SettingsError
from mernet.worker.settings import settings


def upgrade() -> None:
    """Create the tables or upgrade them to this program's version; no data is lost."""
    start_embedded()
    engine = connect(settings().database)
    migrate.upgrade(engine)
    note(f"The tables are up to date in {shown_url(engine)}")


def reader(
    name: Annotated[str, typer.Argument(help="Name of the login, new or existing.")],
) -> None:
    """Create a login that may read the view atlas_search and nothing else, or change its password.

    The password is MERNET_READER_PASSWORD; if that is not set, a terminal asks for it.
    """
    is_new = create_reader(ledger(), name, _password(name))
    note(f"{name} may read atlas_search." if is_new else f"{name} has a new password.")


def _password(name: str) -> str:
    if secret := settings().reader_password:
        return secret.get_secret_value()
    if not sys.stdin.isatty():
        raise SettingsError(f"Set MERNET_READER_PASSWORD for {name}, or run this at a terminal.")
    answer: str = typer.prompt(f"Password for {name}", hide_input=True, confirmation_prompt=True)
    return answer
