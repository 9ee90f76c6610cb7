"""Metrics of the whole service, read from the ledger and the broker when Prometheus asks."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

import sqlalchemy as sa
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from mernet.db.ledger.overview import Overview, overview
from mernet.pds.archive import resolve
from mernet.pds.errors import BadArchiveError
from mernet.worker.broker import BrokerState, broker_state
from mernet.worker.errors import BrokerError
from mernet.worker.settings import Settings


class ServiceCollector(Collector):
    """What `mernet metrics` tells; where the ledger or the broker fails, its `up` is 0, no more."""

    def __init__(self, engine: sa.Engine, config: Settings) -> None:
        self._engine = engine
        self._config = config

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All metrics, anew."""
        try:
            ledger = overview(self._engine)
        except sa.exc.SQLAlchemyError:
            yield _gauge("ledger_up", "Whether the ledger answers.", 0)
        else:
            yield _gauge("ledger_up", "Whether the ledger answers.", 1)
            yield from _of_ledger(ledger)
            if self._config.ingest_seconds is not None:
                yield from _of_ingest(ledger, self._config, self._config.ingest_seconds)
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
    open_chunks = (
        (("unsent",), now.unsent),
        (("queued",), now.queued),
        (("claimed",), now.claimed),
    )
    yield _by("open_chunks", "Chunks of running runs by state.", ("state",), open_chunks)
    yield _gauge(
        "oldest_message_seconds",
        "Age of the oldest open chunk's message.",
        now.oldest_message_seconds,
    )
    yield _gauge(
        "oldest_heartbeat_seconds",
        "Longest time that a taken chunk's worker is silent.",
        now.oldest_heartbeat_seconds,
    )
    yield _gauge(
        "idle_seconds", "Time since a chunk was closed, while some are open.", now.idle_seconds
    )


def _of_ingest(now: Overview, config: Settings, interval: float) -> Iterator[GaugeMetricFamily]:
    """An archive has no last look while the ledger keeps none: before the first one under the
    current classifier, and where each look has to read all of it again.
    See `mernet.worker.ingest`."""
    yield _gauge("ingest_interval_seconds", "Time between two looks for new products.", interval)
    looks = (
        ((name,), now.last_checks[url, config.ingest_products])
        for name, url in _archives(config)
        if (url, config.ingest_products) in now.last_checks
    )
    yield _by(
        "ingest_last_check_age_seconds",
        "Time since an archive was last looked at.",
        ("archive",),
        looks,
    )


def _archives(config: Settings) -> Iterator[tuple[str, str]]:
    """Name and URL of each archive of the ingest, but for those on a disk that is not here."""
    for name in config.ingest_archives:
        with suppress(BadArchiveError):
            yield name, resolve(name, config.ingest_mirror).url


def _of_broker(now: BrokerState) -> Iterator[GaugeMetricFamily]:
    waiting = (((queue,), count) for queue, count in now.waiting.items())
    yield _by("queue_messages", "Messages that no worker has fetched.", ("queue",), waiting)
    yield _gauge(
        "unacknowledged_messages", "Messages fetched and not acknowledged.", now.unacknowledged
    )
    consumers = (((queue,), count) for queue, count in now.consumers.items())
    yield _by("consumers", "Workers that consume a queue.", ("queue",), consumers)
    yield _gauge("workers", "Workers that answer.", len(now.workers))


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
