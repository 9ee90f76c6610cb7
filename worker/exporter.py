"""Metrics of the whole service, read from the ledger and the broker when Prometheus asks."""

from collections.abc import Iterable, Iterator, Sequence

import sqlalchemy as sa
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from db.ledger.overview import Overview, overview
from worker.broker import BrokerState, broker_state
from worker.errors import BrokerError


class ServiceCollector(Collector):
    """What `mernet metrics` tells; where the ledger or the broker fails, its `up` is 0, no more."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All metrics, anew."""
        try:
            ledger = overview(self._engine)
        except sa.exc.SQLAlchemyError:
            yield _gauge("ledger_up", "Whether the ledger answers.", 0)
        else:
            yield _gauge("ledger_up", "Whether the ledger answers.", 1)
            yield from _of_ledger(ledger)
        try:
            broker = broker_state()
        except BrokerError:
            yield _gauge("broker_up", "Whether the broker answers.", 0)
        else:
            yield _gauge("broker_up", "Whether the broker answers.", 1)
            yield from _of_broker(broker)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Nothing: so nothing is asked before the first scrape."""
        return iter(())


def _of_ledger(now: Overview) -> Iterator[GaugeMetricFamily]:
    yield _by(
        "runs",
        "Runs by state.",
        ("state",),
        (((state,), count) for state, count in now.runs.items()),
    )
    yield _by(
        "outcomes",
        "Products by outcome under the current classifier, and reason of failure.",
        ("outcome", "reason"),
        now.outcomes.items(),
    )
    open_chunks = ((("unsent",), now.unsent), (("untaken",), now.untaken), (("taken",), now.taken))
    yield _by("open_chunks", "Chunks of running runs by state.", ("state",), open_chunks)
    yield _gauge(
        "oldest_message_seconds", "Age of the oldest open chunk's message.", now.oldest_seconds
    )
    yield _gauge(
        "silent_seconds", "Longest time that a taken chunk's worker is silent.", now.silent_seconds
    )
    yield _gauge(
        "idle_seconds", "Time since a chunk was closed, while some are open.", now.idle_seconds
    )


def _of_broker(now: BrokerState) -> Iterator[GaugeMetricFamily]:
    waiting = (((queue,), count) for queue, count in now.waiting.items())
    yield _by("queue_messages", "Messages that no worker has fetched.", ("queue",), waiting)
    yield _gauge("messages_in_hand", "Messages fetched and not acknowledged.", now.in_hand)
    yield _gauge("workers", "Workers that answer a ping.", len(now.workers))


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"mernet_{name}", text, value=value)


def _by(
    name: str,
    text: str,
    labels: Sequence[str],
    values: Iterable[tuple[Sequence[str], float]],
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"mernet_{name}", text, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family
