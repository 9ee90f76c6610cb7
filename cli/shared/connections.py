"""Connections that commands need: the ledger, and the embedded servers unless others are set."""

import sqlalchemy as sa

from mernet.cli.shared.output import note
from mernet.db.engine import connect
from mernet.db.migrate import check_current, upgrade
from mernet.worker.embedded import EmbeddedPostgres, EmbeddedRedis, embedded_servers
from mernet.worker.settings import settings


def start_embedded() -> None:
    """Start the embedded servers that are not running and that no setting replaces."""
    for service in embedded_servers(settings()):
        _start(service)


def ledger() -> sa.Engine:
    """Return an engine for the ledger, its tables up to date.

    The embedded database is started and upgraded; a database of the user's own is only checked.

    Raises:
        SchemaError: The tables of the user's own database are of another version.
    """
    config = settings()
    if config.database_url is None:
        _start(EmbeddedPostgres(config.data_dir))
        engine = connect(config.database)
        upgrade(engine)
    else:
        engine = connect(config.database)
        check_current(engine)
    return engine


def _start(service: EmbeddedPostgres | EmbeddedRedis) -> None:
    if not service.status().running:
        note(f"Starting embedded {service.status().name} in {service.data} ...")
        service.start()
