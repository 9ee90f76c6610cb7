"""Connections that commands need: the ledger, and the embedded servers unless others are set."""

from collections.abc import Sequence

import sqlalchemy as sa

from mernet.cli.shared.output import note
from mernet.db.engine import connect
from mernet.db.migrate import check_current, upgrade
from mernet.worker.embedded import EmbeddedPostgres, EmbeddedRedis, embedded_servers
from mernet.worker.errors import ServersStopped
from mernet.worker.settings import settings


def start_embedded() -> None:
    """Start the embedded servers that are not running and that no setting replaces."""
    for service in embedded_servers(settings()):
        _start(service)


def ledger(may_start: bool = True) -> sa.Engine:
    """Return an engine for the ledger, its tables up to date.

    The embedded database is started and upgraded; a database of the user's own is only checked.

    Args:
        may_start: Whether an embedded database that was stopped is started. One that does not exist
            yet is always created.

    Raises:
        SchemaError: The tables of the user's own database are of another version.
        ServersStopped: The embedded database is stopped and may not be started.
    """
    config = settings()
    if config.database_url is None:
        server = EmbeddedPostgres(config.data_dir)
        if not may_start and server.data.exists() and not server.status().running:
            raise _stopped(embedded_servers(config))
        _start(server)
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
        for folder in service.opened_folders:
            note(f"Its user may now pass through {folder}; nobody else's rights there changed.")


def _stopped(servers: Sequence[EmbeddedPostgres | EmbeddedRedis]) -> ServersStopped:
    known = [server.status() for server in servers]
    states = " and ".join(f"{each.name} ({each.state})" for each in known if not each.running)
    return ServersStopped(
        f"Embedded servers are not running in {servers[0].data.parent}: {states}; start them."
    )
