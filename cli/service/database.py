"""`mernet db`: the tables in Postgres, and logins that may only read."""

import sys
from typing import Annotated

import typer

from mernet.cli.shared.connections import ledger, start_embedded
from mernet.cli.shared.output import note
from mernet.db import migrate
from mernet.db.engine import connect, shown_url
from mernet.db.reader_logins import create_reader
from mernet.db.server_rights import create_service_logins, left_open
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

    The password is MERNET_READER_PASSWORD or in the file MERNET_READER_PASSWORD_FILE; if neither is
    set, a terminal asks for it.
    """
    engine = ledger()
    is_new = create_reader(engine, name, _password(name))
    note(f"{name} may read atlas_search." if is_new else f"{name} has a new password.")
    for right in left_open(engine, name):
        note(
            f"{name} may also {right}, which this login may not forbid; a superuser of the server "
            "does so with the same command, and the owner of a database with: "
            "REVOKE CONNECT ON DATABASE ... FROM PUBLIC."
        )


def logins() -> None:
    """Create the logins of the service, mernet_owner and mernet_worker, or change their passwords.

    MERNET_DATABASE_URL has to be that of a superuser. The passwords are in the files
    MERNET_OWNER_PASSWORD_FILE and MERNET_WORKER_PASSWORD_FILE. Existing tables get the new owner.
    """
    config = settings()
    owner, worker = config.secret("owner_password"), config.secret("worker_password")
    if owner is None or worker is None:
        raise SettingsError("Set MERNET_OWNER_PASSWORD_FILE and MERNET_WORKER_PASSWORD_FILE.")
    create_service_logins(connect(config.database), owner, worker)
    note("mernet_owner owns the tables, and mernet_worker may read and write their rows.")


def _password(name: str) -> str:
    if secret := settings().secret("reader_password"):
        return secret
    if not sys.stdin.isatty():
        raise SettingsError(f"Set MERNET_READER_PASSWORD for {name}, or run this at a terminal.")
    answer: str = typer.prompt(f"Password for {name}", hide_input=True, confirmation_prompt=True)
    return answer
