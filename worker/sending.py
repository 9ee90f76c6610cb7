"""Sends the service's messages: list a run, classify a chunk of it. They carry numbers only."""

from uuid import uuid4

import sqlalchemy as sa
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from mernet.db import ledger
from mernet.worker.app import app
from mernet.worker.broker import broker_unreachable

MOST_WAITING = 8
"""How many messages of a run may wait to be received.

Whenever a chunk is started, the next one is sent. The number is therefore enough for any number of
processes, and a run that begins later waits for these few of each run before it.
"""

INGEST_SUBJECT = "ingest"


def send_listing(engine: sa.Engine, run_id: int) -> None:
    """Ask a worker to list the run's products.

    Raises:
        BrokerError: If the broker does not answer; the run stays in the ledger.
    """
    _send("mernet.list_run", subject(run_id), run_id)
    ledger.mark_listing_sent(engine, run_id)


def send_chunks(engine: sa.Engine, run_id: int) -> int:
    """Ask workers to classify the next chunks of a run, if few of its messages are waiting.

    Returns:
        The number of messages sent.

    Raises:
        BrokerError: If the broker does not answer; the chunks stay in the ledger.
    """
    numbers = ledger.take_unsent(engine, run_id, MOST_WAITING)
    for sent, number in enumerate(numbers):
        try:
            _send("mernet.classify_chunk", subject(run_id, number), run_id, number)
        except BaseException:
            ledger.mark_unsent(engine, run_id, numbers[sent:])
            raise
    return len(numbers)


def send_again(engine: sa.Engine, run_id: int, number: int | None) -> None:
    """Send the message for a chunk once more; without a number, that for the run's listing.

    Raises:
        BrokerError: If the broker does not answer.
    """
    if number is None:
        send_listing(engine, run_id)
        return
    _send("mernet.classify_chunk", subject(run_id, number), run_id, number)
    ledger.mark_sent(engine, run_id, number)


def send_ingest() -> None:
    """Ask a worker to look for new products.

    Raises:
        BrokerError: If the broker does not answer.
    """
    _send("mernet.ingest", INGEST_SUBJECT)


def subject(run_id: int, number: int | None = None) -> str:
    """Return what a message is about, as Flower, the log and the broker's queues show it."""
    return f"run {run_id}" if number is None else f"run {run_id} chunk {number}"


def _send(task: str, about: str, *numbers: int) -> None:
    """Send a task with its subject in its id and arguments, which Flower and the log show.

    The task's name must stay the same for all subjects: Flower stores a dozen metrics for each name
    forever.
    """
    try:
        app.send_task(
            task,
            args=numbers,
            task_id=f"{about.replace(' ', '-')}-{uuid4().hex[:8]}",
            argsrepr=about,
            retry=True,
            retry_policy={"max_retries": 3},
        )
    except (OperationalError, RedisError) as error:
        raise broker_unreachable(error) from error
