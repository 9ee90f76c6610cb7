"""The messages: list a run, classify a chunk of it. They carry numbers and nothing else."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from uuid import uuid4

import sqlalchemy as sa
from kombu.exceptions import ChannelError, OperationalError

from mernet.db import ledger
from mernet.worker.app import CLASSIFY, app
from mernet.worker.errors import BrokerError, WorkerError

log = logging.getLogger(__name__)

PING_SECONDS = 1.0


def send_listing(engine: sa.Engine, run_id: int) -> None:
    """Ask a worker to list the run's products.

    Raises `BrokerError` when the broker does not answer; the run stays in the ledger.
    """
    _send("mernet.list_run", f"run {run_id}", run_id)
    ledger.mark_listing_sent(engine, run_id)


def send_chunks(engine: sa.Engine, run_id: int, numbers: Sequence[int]) -> None:
    """Ask workers to classify these chunks of the run.

    Raises `BrokerError` when the broker does not answer; the chunks stay in the ledger.
    """
    for number in numbers:
        _send("mernet.classify_chunk", f"run {run_id} chunk {number}", run_id, number)
    ledger.mark_sent(engine, run_id, numbers)


def send_again(engine: sa.Engine, lease_seconds: float) -> int:
    """The sweep: send again what has not moved for longer than the lease; how many messages.

    Chunks wait their turn while there are messages in their queue. Of several sweeps at once, one
    does the work.
    """
    with ledger.exclusive(engine, "sweep") as alone:
        if not alone:
            return 0
        sent = 0
        chunks: defaultdict[int, list[int]] = defaultdict(list)
        for run_id, number in ledger.stale(engine, lease_seconds, lease_seconds):
            if number is None:
                send_listing(engine, run_id)
                sent += 1
            else:
                chunks[run_id].append(number)
        if chunks and waiting_messages() == 0:
            for run_id, numbers in chunks.items():
                send_chunks(engine, run_id, numbers)
                sent += len(numbers)
        if sent:
            log.info("%d messages sent again", sent)
        return sent


def check_broker() -> None:
    """Raise `BrokerError` unless the broker answers at once."""
    with app.connection_for_write() as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=PING_SECONDS)
        except OperationalError as error:
            raise no_answer(error) from error


def workers_answer() -> bool:
    """Whether any worker answers within a second. Raises `BrokerError`."""
    try:
        return bool(app.control.ping(timeout=PING_SECONDS))
    except OperationalError as error:
        raise no_answer(error) from error


def refuse_taken_name(node: str) -> None:
    """Raise `WorkerError` where a worker of this name answers already.

    Asks over a connection of its own, closed afterwards: with one left in the application's pool,
    each process that is forked then waits for an answer on it until the time-out.
    """
    try:
        with app.connection_for_write() as connection:
            answers = app.control.ping([node], timeout=PING_SECONDS / 2, connection=connection)
    except OperationalError as error:
        raise no_answer(error) from error
    if answers:
        raise WorkerError(f"A worker {node} is there already; give this one another --name.")


def waiting_messages() -> int:
    """How many messages for chunks no worker has fetched yet."""
    with app.connection_for_read() as connection, connection.channel() as channel:
        try:
            return int(channel.queue_declare(CLASSIFY, passive=True).message_count)
        except ChannelError:  # Redis has no empty lists
            return 0


def _send(task: str, subject: str, *numbers: int) -> None:
    """Send a task whose id and arguments, as Flower and the log show them, tell its `subject`.

    Its name stays the task's: Flower keeps a dozen metrics of each name for ever.
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
        raise no_answer(error) from error


def no_answer(error: Exception) -> BrokerError:
    """What to raise when the broker fails with `error`."""
    return BrokerError(
        f"The broker does not answer ({error}); start it or correct MERNET_BROKER_URL. What is in "
        "the ledger is not lost: the sweep of any worker sends it again."
    )
