"""Metrics of the whole service, read from the ledger and the broker at each scrape."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

import sqlalchemy as sa
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from mernet.db import obstacles
from mernet.db.errors import DbError
from mernet.db.ledger.overview import Overview, overview
from mernet.pds.archive import resolve
from mernet.pds.errors import BadArchiveError
from mernet.worker.broker import BrokerState, broker_state
from mernet.worker.errors import BrokerError
from mernet.worker.settings import Settings


class ServiceCollector(Collector):
    """Collects the metrics of the service.

    If the ledger or the broker does not answer, its metric `up` is 0 and its others are left out.
    """

    def __init__(self, engine: sa.Engine, config: Settings) -> None:
        self._engine = engine
        self._config = config

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read the ledger and the broker and yield all metrics."""
        try:
            ledger = overview(self._engine)
            waiting_for = obstacles.current(self._engine)
        except (sa.exc.SQLAlchemyError, DbError):
            yield _gauge("ledger_up", "Whether the ledger answers.", 0)
        else:
            yield _gauge("ledger_up", "Whether the ledger answers.", 1)
            yield from _ledger_metrics(ledger)
            yield _labelled_gauge(
                "obstacle_age_seconds",
                "Seconds since work has met an obstacle for which it waits, such as an archive "
                "host that is down.",
                ("kind", "subject"),
                (((each.kind, each.subject), each.age_seconds) for each in waiting_for),
            )
            if self._config.ingest_seconds is not None:
                yield from _ingest_metrics(ledger, self._config, self._config.ingest_seconds)
        try:
            broker = broker_state()
        except BrokerError:
            yield _gauge("broker_up", "Whether the broker answers.", 0)
        else:
            yield _gauge("broker_up", "Whether the broker answers.", 1)
            yield from _broker_metrics(broker)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Describe nothing, so that registering the collector reads nothing."""
        return iter(())


def _ledger_metrics(now: Overview) -> Iterator[GaugeMetricFamily]:
    yield _labelled_gauge(
        "runs",
        "Runs by state.",
        ("state",),
        (((state,), count) for state, count in now.runs.items()),
    )
    yield _labelled_gauge(
        "outcomes",
        "Products by outcome under the current classifier, and reason of failure.",
        ("outcome", "reason"),
        now.outcomes.items(),
    )
    yield _labelled_gauge(
        "open_chunks",
        "Open chunks of running runs: not sent yet, waiting for something such as an archive, with "
        "a message that no worker has received, claimed by a worker.",
        ("state",),
        (
            (("unsent",), now.unsent),
            (("waiting",), now.waiting),
            (("queued",), now.queued),
            (("claimed",), now.claimed),
        ),
    )
    yield _gauge(
        "oldest_message_seconds",
        "Age of the oldest message of an open chunk.",
        now.oldest_message_seconds,
    )
    yield _gauge(
        "oldest_heartbeat_seconds",
        "Age of the oldest heartbeat of an active chunk.",
        now.oldest_heartbeat_seconds,
    )
    yield _gauge(
        "last_sweep_age_seconds",
        "Time since a scheduler last swept the ledger for stalled work.",
        now.last_sweep_seconds,
    )
    yield _gauge(
        "idle_seconds",
        "Time since a chunk was last closed, while others are open of runs that do not wait.",
        now.idle_seconds,
    )


def _ingest_metrics(
    now: Overview, config: Settings, interval: float
) -> Iterator[GaugeMetricFamily]:
    """Yield the interval of the ingest and the time since its last check of each archive.

    An archive has no last check before its first ingest under the current classifier, or if every
    check has to read all of it again (see `mernet.worker.ingest`).
    """
    yield _gauge(
        "ingest_interval_seconds", "Seconds between two checks for new products.", interval
    )
    checks = (
        ((name,), now.last_checks[url, config.ingest_products])
        for name, url in _reachable_archives(config)
        if (url, config.ingest_products) in now.last_checks
    )
    yield _labelled_gauge(
        "ingest_last_check_age_seconds",
        "Seconds since an archive was last checked for new products.",
        ("archive",),
        checks,
    )


def _reachable_archives(config: Settings) -> Iterator[tuple[str, str]]:
    """Yield name and URL of each archive of the ingest, except those on a disk missing here."""
    for name in config.ingest_archives:
        with suppress(BadArchiveError):
            yield name, resolve(name, config.ingest_mirror).source


def _broker_metrics(now: BrokerState) -> Iterator[GaugeMetricFamily]:
    yield _labelled_gauge(
        "queue_messages",
        "Messages that no worker has received.",
        ("queue",),
        (((queue,), count) for queue, count in now.waiting.items()),
    )
    yield _gauge(
        "unacknowledged_messages",
        "Messages that workers have received and not acknowledged.",
        now.unacknowledged,
    )
    yield _labelled_gauge(
        "consumers",
        "Workers that consume a queue.",
        ("queue",),
        (((queue,), count) for queue, count in now.consumers.items()),
    )
    yield _gauge("workers", "Workers that answer.", len(now.workers))


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"mernet_{name}", text, value=value)


def _labelled_gauge(
    name: str,
    text: str,
    labels: Sequence[str],
    values: Iterable[tuple[Sequence[str], float]],
) -> GaugeMetricFamily:
    """Return a gauge with one sample for each pair of label values and value."""
    family = GaugeMetricFamily(f"mernet_{name}", text, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family
