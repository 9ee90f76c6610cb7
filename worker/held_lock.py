"""Holds a lock of the service while a block runs, with heartbeats from a thread."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from mernet.db import ledger
from mernet.db.errors import LockHeld
from mernet.worker.heartbeat import Heartbeat
from mernet.worker.process_name import process_name

LOCK_LEASE_SECONDS = 15.0
"""Seconds without a heartbeat after which another process may take a lock."""

LOCK_HEARTBEAT_SECONDS = 5.0


@contextmanager
def hold_lock(engine: sa.Engine, name: str) -> Iterator[str]:
    """Hold a lock until the block ends; yield the holder's name, for the ledger to check.

    Raises:
        LockHeld: If another process has it; the message says which, and since when.
    """
    holder = process_name(name)
    other = ledger.take_lock(engine, name, holder, LOCK_LEASE_SECONDS)
    if other is not None:
        raise LockHeld(
            f"Another {name} is running since {other.since:%Y-%m-%d %H:%M:%S} UTC ({other.name}); "
            f"wait for its end, or end that process: {LOCK_LEASE_SECONDS:.0f} seconds after its "
            "last heartbeat a new one can start."
        )
    with keep_lock(engine, name, holder):
        yield holder


@contextmanager
def keep_lock(engine: sa.Engine, name: str, holder: str) -> Iterator[None]:
    """Send heartbeats of a lock that `holder` has, and release it when the block ends."""
    try:
        with Heartbeat(lambda: ledger.keep_lock(engine, name, holder), LOCK_HEARTBEAT_SECONDS):
            yield
    finally:
        ledger.release_lock(engine, name, holder)
