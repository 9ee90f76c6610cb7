"""What goes on at the broker: messages that wait, messages in hand, who takes them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from mernet.worker.app import QUEUES, app
from mernet.worker.messages import PING_SECONDS, check_broker, no_answer


@dataclass(frozen=True, slots=True)
class BrokerState:
    """Messages `waiting` in each queue, messages that workers hold unacknowledged, how many workers
    consume each queue, names of the workers that answer: one may answer and consume nothing."""

    waiting: Mapping[str, int]
    in_hand: int
    consumers: Mapping[str, int]
    workers: tuple[str, ...]


def broker_state() -> BrokerState:
    """What the broker and the workers answer within a second or two. Raises `BrokerError`.

    Celery keeps a queue in a Redis list of its name, and what was taken in one hash for all queues.
    """
    check_broker()
    try:
        with app.connection_for_read() as connection, connection.channel() as channel:
            waiting = {queue: int(channel.client.llen(queue)) for queue in QUEUES}
            in_hand = int(channel.client.hlen(channel.unacked_key))
        consumed = app.control.inspect(timeout=PING_SECONDS).active_queues() or {}
    except (OperationalError, RedisError) as error:
        raise no_answer(error) from error
    counts = Counter(queue["name"] for queues in consumed.values() for queue in queues)
    consumers = {queue: counts[queue] for queue in QUEUES}
    return BrokerState(waiting, in_hand, consumers, tuple(sorted(consumed)))
