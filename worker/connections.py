"""Connections to archive hosts, of which all workers together have only so many."""

import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from mernet.db import connections
from mernet.worker.archive_hosts import HostRules
from mernet.worker.errors import Abandoned
from mernet.worker.heartbeat import Heartbeat

POLL_SECONDS = 0.5


@contextmanager
def leased_connections(
    engine: sa.Engine,
    hosts: Collection[str],
    wanted: int,
    rules: HostRules,
    is_wanted: Callable[[], bool],
) -> Iterator[int]:
    """Lease connections to archive hosts while the block runs; wait until each host has some left.

    Args:
        engine: The database.
        hosts: The hosts; without any, all that is wanted is granted.
        wanted: How many connections to each the block can use.
        rules: How many there are, and how long a lease lasts that is not renewed.
        is_wanted: Whether the block is still to run; asked while waiting.

    Yields:
        How many connections to each host the block may use, at least one.

    Raises:
        Abandoned: The block is not to run any more.
    """
    if not hosts:
        yield wanted
        return
    holder = uuid.uuid4().hex
    seconds = rules.lease_seconds

    def lease() -> int:
        return connections.lease(engine, holder, hosts, wanted, rules.connections, seconds)

    def renew() -> bool:
        connections.renew(engine, holder, seconds)
        return True

    while not (granted := lease()):
        if not is_wanted():
            raise Abandoned
        time.sleep(POLL_SECONDS)
    try:
        with Heartbeat(renew, seconds / 3):
            yield granted
    finally:
        connections.give_back(engine, holder)
