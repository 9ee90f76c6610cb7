"""What commands need around them: the ledger, and the embedded servers where none are set."""

from typing import TYPE_CHECKING

import sqlalchemy as sa

from mernet.cli.shared.output import note
from mernet.db.engine import connect
from mernet.db.migrate import check_current, upgrade
from mernet.worker.settings import settings

if TYPE_CHECKING:
    from mernet.worker.embedded import EmbeddedPostgres, EmbeddedRedis


def start_embedded() -> None:
    """Start those embedded servers that no setting replaces and that do not run yet."""
    from mernet.worker.embedded import embedded_servers

    for service in embedded_servers(settings()):
        _start(service)


def ledger() -> sa.Engine:
    """An engine for the ledger, its tables up to date.

    The embedded database is started and brought up to date; one of the user's own is only checked.
    """
    config = settings()
    if config.database_url is None:
        from mernet.worker.embedded import EmbeddedPostgres

        _start(EmbeddedPostgres(config.data_dir))
        engine = connect(config.database)
        upgrade(engine)
    else:
        engine = connect(config.database)
        check_current(engine)
    return engine


def ledger_and_broker() -> sa.Engine:
    """An engine for the ledger; the broker answers too.

    Raises `BrokerError` when it does not.
    """
    engine = ledger()
    start_embedded()
    from mernet.worker.broker import check_broker

    check_broker()
    return engine


def _start(service: "EmbeddedPostgres | EmbeddedRedis") -> None:
    if not service.status().running:
        note(f"Starting embedded {service.status().name} in {service.data} ...")
        service.start()
