"""`mernet db`: the ledger's tables."""

import typer

from cli.context import start_embedded
from cli.output import note
from worker.settings import settings

app = typer.Typer(no_args_is_help=True, help="The ledger's tables in Postgres.")


@app.callback()
def group() -> None:
    """Keep `upgrade` a command of its own, although it is the only one."""


@app.command()
def upgrade() -> None:
    """Create the tables, or bring them to this program's version; nothing is lost."""
    from db import migrate
    from db.engine import connect

    start_embedded()
    engine = connect(settings().database)
    migrate.upgrade(engine)
    note(f"The tables are up to date in {engine.url.render_as_string(hide_password=True)}")
