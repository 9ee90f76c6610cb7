"""What commands need around them: the ledger, and the embedded servers where none are set."""

import sqlalchemy as sa

from cli.output import note
from db.engine import connect
from db.migrate import check_current, upgrade
from worker.settings import settings


def start_embedded() -> None:
    """Start those embedded servers that no setting replaces and that do not run yet."""
    from demo.services import embedded

    for service in embedded(settings()):
        if not service.status().running:
            note(f"Starting embedded {service.status().name} in {service.data} ...")
            service.start()


def ledger() -> sa.Engine:
    """An engine for the ledger, its tables up to date.

    The embedded database is brought up to date here; one of the user's own is only checked.
    """
    start_embedded()
    engine = connect(settings().database)
    if settings().database_url is None:
        upgrade(engine)
    else:
        check_current(engine)
    return engine
