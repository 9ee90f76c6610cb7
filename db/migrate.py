"""The version of a database's tables: check it, and upgrade them to the version of this program."""

from pathlib import Path

import sqlalchemy as sa

from mernet.db.engine import first_line, sqlstate
from mernet.db.errors import SchemaError, SchemaOutdated
from mernet.db.server_rights import close_to_public

MIGRATIONS = Path(__file__).parent / "migrations"

# Read from the names of the files (0001_what_it_does.py) instead of through alembic: alembic loads
# mako and pygments, which takes longer than a whole search does.
KNOWN_VERSIONS = tuple(
    sorted(path.name.partition("_")[0] for path in MIGRATIONS.glob("versions/[0-9]*_*.py"))
)
NEWEST_VERSION = KNOWN_VERSIONS[-1]

LOCK_NOT_AVAILABLE = "55P03"
LOCK_SECONDS = 120
"""How long an upgrade waits for a table that others use."""

# Alembic's own table, of which only the owner of the tables may take this lock.
ONE_UPGRADE_AT_A_TIME = """
CREATE TABLE IF NOT EXISTS alembic_version (
    version_num varchar(32) CONSTRAINT alembic_version_pkc PRIMARY KEY
);
LOCK TABLE alembic_version IN SHARE ROW EXCLUSIVE MODE;
"""


def upgrade(engine: sa.Engine) -> None:
    """Create the tables, or change them to this program's version if they have an older one.

    All or nothing; a second process that upgrades at the same time waits.

    Raises:
        SchemaError: The database refused, or it was upgraded by a newer program.
    """
    try:
        with engine.connect() as connection:
            is_current = _read_known_version(connection) == NEWEST_VERSION
        if not is_current:
            _migrate(engine)
    except sa.exc.DBAPIError as error:
        if sqlstate(error) == LOCK_NOT_AVAILABLE:
            raise SchemaError(
                f"The tables are unchanged: others have used them for {LOCK_SECONDS} seconds; end "
                "their connections, which pg_stat_activity lists, then try again."
            ) from error
        raise SchemaError(
            f"The tables could not be created ({first_line(error)}); upgrade them as a user that "
            "may create tables and roles."
        ) from error


def check_current(engine: sa.Engine) -> None:
    """Check that the tables have exactly the version of this program.

    Raises:
        SchemaOutdated: There are no tables, or they have an older version.
        SchemaError: The tables were upgraded by a newer program.
    """
    with engine.connect() as connection:
        version = _read_known_version(connection)
    if version is None:
        raise SchemaOutdated("The database has no tables yet; create them.")
    if version != NEWEST_VERSION:
        raise SchemaOutdated(
            f"The tables are at version {version} and this program needs {NEWEST_VERSION}; "
            "upgrade them."
        )


def read_version(connection: sa.Connection) -> str | None:
    """Return the version of the tables, such as '0001', or None for an empty database."""
    if connection.scalar(sa.text("SELECT to_regclass('alembic_version') IS NULL")):
        return None
    version: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return version


def _read_known_version(connection: sa.Connection) -> str | None:
    version = read_version(connection)
    if version is not None and version not in KNOWN_VERSIONS:
        raise SchemaError(
            f"The database is at version {version}, which this program does not know; install "
            "the newer mernet that upgraded it."
        )
    return version


def _migrate(engine: sa.Engine) -> None:
    try:
        _migrate_alone(engine)
    except sa.exc.IntegrityError:  # another process has just created the first table, and upgraded
        _migrate_alone(engine)


def _migrate_alone(engine: sa.Engine) -> None:
    # Imported here because it loads Alembic, which only an upgrade needs.
    from mernet.db.alembic_steps import upgrade_to_newest

    with engine.begin() as connection:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_SECONDS * 1000}")
        connection.exec_driver_sql(ONE_UPGRADE_AT_A_TIME)
        _read_known_version(connection)  # a newer program may have been faster
        upgrade_to_newest(connection)
        close_to_public(connection)
