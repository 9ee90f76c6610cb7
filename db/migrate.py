"""Bring a database to this program's version of the tables, or say that it is not."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from mernet.db.engine import first_line
from mernet.db.errors import SchemaError

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(engine: sa.Engine) -> None:
    """Create or change the tables to this program's version; harmless when they have it already.

    All or nothing; a second process that upgrades at the same time waits. Raises `SchemaError`
    when the database refuses, or was upgraded by a newer program.
    """
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('mernet upgrade'))")
            _refuse_unknown(current_revision(connection))
            command.upgrade(configuration(connection), "head")
    except sa.exc.DBAPIError as error:
        raise SchemaError(
            f"The tables could not be created ({first_line(error)}); run `mernet db upgrade` as a "
            "user that may create tables and roles."
        ) from error


def check_current(engine: sa.Engine) -> None:
    """Raise `SchemaError` unless the tables are exactly of this program's version."""
    with engine.connect() as connection:
        revision = current_revision(connection)
    _refuse_unknown(revision)
    if revision != _scripts().get_current_head():
        found = "has no tables yet" if revision is None else f"is at version {revision}"
        raise SchemaError(f"The database {found}; run `mernet db upgrade`.")


def current_revision(connection: sa.Connection) -> str | None:
    """The version of the tables, such as '0001'; None in an empty database."""
    return MigrationContext.configure(connection).get_current_revision()


def configuration(connection: sa.Connection) -> Config:
    """What alembic's commands need to migrate over `connection`."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(MIGRATIONS)


def _refuse_unknown(revision: str | None) -> None:
    known = {script.revision for script in _scripts().walk_revisions()}
    if revision is not None and revision not in known:
        raise SchemaError(
            f"The database is at version {revision}, which this program does not know; install "
            "the newer mernet that upgraded it."
        )
