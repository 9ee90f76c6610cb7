"""The ledger and the broker, for commands that send messages. Importing this loads Celery."""

import sqlalchemy as sa

from mernet.cli.shared.connections import ledger, start_embedded
from mernet.worker.broker import check_broker


def ledger_and_broker() -> sa.Engine:
    """Return an engine for the ledger, after checking that the broker answers.

    Raises:
        BrokerError: The broker does not answer.
    """
    engine = ledger()
    start_embedded()
    check_broker()
    return engine
