"""Connections to archive hosts, of which all workers together have only so many."""

import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from mernet.db import connections, obstacles
from mernet.db.obstacles import ObstacleKind, Patience
from mernet.worker.archive_hosts import HostRules
from mernet.worker.errors import Abandoned, MustWait
from mernet.worker.heartbeat import Heartbeat

POLL_SECONDS = 0.5

NEXT_TRY_SECONDS = 5.0
"""When a run asks again that found none; sooner if some are given back."""


@contextmanager
def leased_connections(
    engine: sa.Engine,
    hosts: Collection[str],
    wanted: int,
    rules: HostRules,
    run_id: int | None,
    is_wanted: Callable[[], bool],
    on_wait: Callable[[MustWait], None] | None = None,
) -> Iterator[int]:
    """Lease connections to archive hosts while the block runs.

    Args:
        engine: The database.
        hosts: The hosts; without any, all that is wanted is granted.
        wanted: How many connections to each the block can use.
        rules: How many there are, how long to wait for one, and how long a lease lasts that is not
            renewed.
        run_id: The run that needs them; None for the check for new products.
        is_wanted: Whether the block is still to run; asked while waiting.
        on_wait: Told once that all are in use; the wait then continues until one is free. None for
            work that can be postponed.

    Yields:
        How many connections to each host the block may use, at least one.

    Raises:
        Abandoned: The block is not to run any more.
        MustWait: A host has had none left for some time; the place in the queue is kept.
    """
    if not hosts:
        yield wanted
        return
    holder, seconds = uuid.uuid4().hex, rules.lease_seconds

    def lease() -> int:
        return connections.lease(engine, holder, run_id, hosts, wanted, rules.connections, seconds)

    def renew() -> bool:
        connections.renew(engine, holder, seconds)
        return True

    granted = _ask_until_granted(
        lease, is_wanted, rules.queue_seconds, lambda: _report(engine, hosts, rules), on_wait
    )
    try:
        with Heartbeat(renew, seconds / 3):
            yield granted
    finally:
        connections.give_back(engine, holder)


def _ask_until_granted(
    lease: Callable[[], int],
    is_wanted: Callable[[], bool],
    patience: float,
    report: Callable[[], MustWait],
    on_wait: Callable[[MustWait], None] | None,
) -> int:
    """Return how many connections are granted; ask for `patience` seconds, or longer if told."""
    patient_until = time.monotonic() + patience
    while not (granted := lease()):
        if not is_wanted():
            raise Abandoned
        if time.monotonic() >= patient_until:
            waiting = report()
            if on_wait is None:
                raise waiting
            on_wait(waiting)
            patient_until = float("inf")
        time.sleep(POLL_SECONDS)
    return granted


def _report(engine: sa.Engine, hosts: Collection[str], rules: HostRules) -> MustWait:
    """Note that all connections to a host are in use; return what the work waits for."""
    host = connections.busiest(engine, hosts)
    reason = (
        f"The only connection to {host} is in use."
        if rules.connections == 1
        else f"All {rules.connections} connections to {host} are in use."
    )
    patience = Patience(NEXT_TRY_SECONDS, NEXT_TRY_SECONDS)
    after = obstacles.report(engine, ObstacleKind.CONNECTIONS, host, reason, patience)
    return MustWait(ObstacleKind.CONNECTIONS, host, after)
