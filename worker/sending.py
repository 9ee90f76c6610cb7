"""Sends the service's messages: list a run, classify a chunk of it. They carry numbers only."""

from collections.abc import Sequence
from uuid import uuid4

import sqlalchemy as sa
from kombu.exceptions import OperationalError

from mernet.db import ledger
from mernet.worker.app import app
from mernet.worker.broker import broker_unreachable


def send_listing(engine: sa.Engine, run_id: int) -> None:
    """Ask a worker to list the run's products.

    Raises:
        BrokerError: If the broker does not answer; the run stays in the ledger.
    """
    _send("mernet.list_run", f"run {run_id}", run_id)
    ledger.mark_listing_sent(engine, run_id)


def send_chunks(engine: sa.Engine, run_id: int, numbers: Sequence[int]) -> None:
    """Ask workers to classify these chunks of the run.

    Raises:
        BrokerError: If the broker does not answer; the chunks stay in the ledger.
    """
    for number in numbers:
        _send("mernet.classify_chunk", f"run {run_id} chunk {number}", run_id, number)
    ledger.mark_sent(engine, run_id, numbers)


def _send(task: str, subject: str, *numbers: int) -> None:
    """Send a task with `subject` in its id and arguments, which Flower and the log show.

    The task's name must stay the same for all subjects: Flower stores a dozen metrics for each name
    forever.
    """
    try:
        app.send_task(
            task,
            args=numbers,
            task_id=f"{subject.replace(' ', '-')}-{uuid4().hex[:8]}",
            argsrepr=subject,
            retry=True,
            retry_policy={"max_retries": 3},
        )
    except OperationalError as error:
        raise broker_unreachable(error) from error
