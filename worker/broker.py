"""Asks the broker and, through it, the workers: do they answer, which messages wait."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from kombu.exceptions import OperationalError
from redis.exceptions import OutOfMemoryError, RedisError

from mernet.printable import printable
from mernet.worker.app import QUEUES, QueueName, app
from mernet.worker.errors import BrokerError, NameInUse

PING_SECONDS = 1.0
"""Seconds that workers have to answer.

Each call waits this long, because any worker may answer late.
"""


SUBJECT = re.compile(rb'"argsrepr": "([ a-z0-9]+)"')
"""What a message is about, in its text as the broker stores it."""

PAGE = 1000
MOST_READ = 100_000
"""Messages of a queue that are read; the service itself sends a few for each run."""


@dataclass(frozen=True, slots=True)
class BrokerState:
    """Messages and workers of the service at one moment.

    Attributes:
        waiting: The number of messages in each queue that no worker has received.
        unacknowledged: The number of messages that workers have received and not yet acknowledged.
        consumers: The number of workers that consume each queue.
        workers: The names of the workers that answer. A worker may answer and consume no queue.
    """

    waiting: Mapping[str, int]
    unacknowledged: int
    consumers: Mapping[str, int]
    workers: tuple[str, ...]


def broker_state() -> BrokerState:
    """Return what the broker and the workers answer within a second or two.

    Celery keeps a queue in a Redis list of its name, and the unacknowledged messages of all queues
    in one hash.

    Raises:
        BrokerError: If the broker does not answer.
    """
    check_broker()
    try:
        with app.connection_for_read() as connection, connection.channel() as channel:
            waiting = {queue: int(channel.client.llen(queue)) for queue in QUEUES}
            unacknowledged = int(channel.client.hlen(channel.unacked_key))
        consumed = app.control.inspect(timeout=PING_SECONDS).active_queues() or {}
    except (OperationalError, RedisError) as error:
        raise broker_unreachable(error) from error
    counts = Counter(queue["name"] for queues in consumed.values() for queue in queues)
    consumers = {queue: counts[queue] for queue in QUEUES}
    return BrokerState(waiting, unacknowledged, consumers, tuple(sorted(consumed)))


def check_broker() -> None:
    """Check that the broker answers.

    Raises:
        BrokerError: If it does not answer at once.
    """
    with app.connection_for_write() as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=PING_SECONDS)
        except OperationalError as error:
            raise broker_unreachable(error) from error


def workers_answer() -> bool:
    """Return whether any worker answers within a second.

    Raises:
        BrokerError: If the broker does not answer.
    """
    try:
        return bool(app.control.ping(timeout=PING_SECONDS))
    except OperationalError as error:
        raise broker_unreachable(error) from error


def require_unused_name(node: str) -> None:
    """Check that no running worker has the name `node`, which has the form name@host.

    The connection is opened for this question and closed afterwards: if one stays in the
    application's pool, each process that is forked later waits on it for an answer until the
    time-out.

    Raises:
        NameInUse: If a worker of this name answers.
        BrokerError: If the broker does not answer.
    """
    try:
        with app.connection_for_write() as connection:
            answers = app.control.ping([node], timeout=PING_SECONDS / 2, connection=connection)
    except OperationalError as error:
        raise broker_unreachable(error) from error
    if answers:
        raise NameInUse(f"A worker named {node} is already running; choose another --name.")


def is_waiting(queue: QueueName) -> bool:
    """Return whether a message waits in a queue; False if the broker does not answer."""
    try:
        with app.connection_for_read() as connection, connection.channel() as channel:
            return bool(channel.client.llen(queue))
    except (OperationalError, RedisError):
        return False


def waiting_subjects() -> frozenset[str]:
    """Return what the messages are about that no worker has received, such as 'run 1 chunk 2'.

    Raises:
        BrokerError: If the broker does not answer.
    """
    found: set[str] = set()
    try:
        with app.connection_for_read() as connection, connection.channel() as channel:
            for queue in QUEUES:
                for first in range(0, MOST_READ, PAGE):
                    page = channel.client.lrange(queue, first, first + PAGE - 1)
                    for message in page:
                        found.update(each.decode() for each in SUBJECT.findall(message))
                    if len(page) < PAGE:
                        break
    except (OperationalError, RedisError) as error:
        raise broker_unreachable(error) from error
    return frozenset(found)


def broker_unreachable(error: Exception) -> BrokerError:
    """Return the error to raise when a call to the broker fails with `error`."""
    if isinstance(error, OutOfMemoryError):
        return BrokerError(
            f"The broker has no memory left ({error}); raise its maxmemory. No work is lost: the "
            "sweep sends the messages of everything in the ledger when there is room."
        )
    return BrokerError(
        f"The broker does not answer ({printable(error)}); start it, or correct "
        "MERNET_BROKER_URL if it is set. No work is lost: the sweep sends the messages of "
        "everything in the ledger again."
    )
