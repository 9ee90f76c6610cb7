"""Named locks of the service: rows whose holder sends heartbeats, by the database's clock.

A holder that sends none for the lease's time has lost the lock, even if its process was only
stopped; the transaction that depends on a lock therefore checks it with `require_lock`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from mernet.db.engine import transaction
from mernet.db.errors import LockLost
from mernet.db.tables import service_lock

LOCK = service_lock.c

LAST_START = sa.text("""
SELECT extract(epoch FROM now() - since)::float FROM service_lock WHERE name = :name
""")


@dataclass(frozen=True, slots=True)
class LockHolder:
    """Who has a lock.

    Attributes:
        name: The name by which it took the lock.
        since: When it took it.
    """

    name: str
    since: datetime


@transaction
def take_lock(
    connection: sa.Connection, name: str, holder: str, lease_seconds: float
) -> LockHolder | None:
    """Take a lock that is free, or whose holder sent no heartbeat within the lease; never wait.

    Args:
        connection: The function's own transaction; callers pass the engine.
        name: The lock.
        holder: A name that no other process has.
        lease_seconds: Seconds without a heartbeat after which a lock is free.

    Returns:
        None if `holder` has the lock now, else who has it.
    """
    return _take(connection, name, holder, _is_free(holder, lease_seconds))


@transaction
def start_if_due(
    connection: sa.Connection,
    name: str,
    holder: str,
    interval_seconds: float,
    lease_seconds: float,
    retry_seconds: float | None = None,
) -> bool:
    """Take the lock of a periodic task, unless the task runs or was last started too recently.

    Args:
        connection: The function's own transaction; callers pass the engine.
        name: The task.
        holder: A name that no other process has.
        interval_seconds: The time between two starts.
        lease_seconds: Seconds without a heartbeat after which the task counts as lost.
        retry_seconds: The time to the next start if nobody says how the task ended; None for the
            interval. See `plan_start`.

    Returns:
        Whether the task is to be done now; `release_lock` notes its end.
    """
    if _take(connection, name, holder, _is_due(holder, interval_seconds, lease_seconds)):
        return False
    _plan(connection, name, holder, retry_seconds)
    return True


@transaction
def is_due(
    connection: sa.Connection,
    name: str,
    interval_seconds: float,
    lease_seconds: float,
) -> bool:
    """Return whether `start_if_due` would start a periodic task."""
    due = _is_due("", interval_seconds, lease_seconds)
    return connection.scalar(sa.select(due).where(LOCK.name == name)) is not False


@transaction
def plan_start(connection: sa.Connection, name: str, holder: str, seconds: float | None) -> None:
    """Note when a periodic task that `holder` does is to be started again.

    Args:
        connection: The function's own transaction; callers pass the engine.
        name: The task.
        holder: Who does it; nothing changes if the lock is not the holder's any more.
        seconds: The time from now; None for the task's interval.
    """
    _plan(connection, name, holder, seconds)


def seconds_since_start(connection: sa.Connection, name: str) -> float | None:
    """Return in an open transaction how long ago a periodic task was started; None if never."""
    age: float | None = connection.scalar(LAST_START, {"name": name})
    return age


@transaction
def keep_lock(connection: sa.Connection, name: str, holder: str) -> bool:
    """Send a heartbeat; return False if the lock is not the holder's any more."""
    kept = connection.execute(
        sa.update(service_lock)
        .where(LOCK.name == name, LOCK.holder == holder)
        .values(heartbeat_at=sa.func.now())
    )
    return kept.rowcount == 1


@transaction
def release_lock(connection: sa.Connection, name: str, holder: str) -> None:
    """Give a lock back; nothing changes if it is not the holder's any more."""
    connection.execute(
        sa.update(service_lock)
        .where(LOCK.name == name, LOCK.holder == holder)
        .values(holder=None, heartbeat_at=sa.func.now())
    )


def require_lock(connection: sa.Connection, name: str, holder: str) -> None:
    """Check inside an open transaction that `holder` has the lock, and keep it until the end.

    Raises:
        LockLost: If another process has taken it.
    """
    held = connection.scalar(
        sa.select(LOCK.name).where(LOCK.name == name, LOCK.holder == holder).with_for_update()
    )
    if held is None:
        raise LockLost(
            f"This process sent no heartbeat for too long and lost the lock of the {name} to "
            "another; nothing was changed. Start it again if it is still needed."
        )


def _plan(connection: sa.Connection, name: str, holder: str, seconds: float | None) -> None:
    start = None if seconds is None else sa.func.now() + timedelta(seconds=seconds)
    connection.execute(
        sa.update(service_lock)
        .where(LOCK.name == name, LOCK.holder == holder)
        .values(next_start_at=start)
    )


def _is_due(holder: str, interval_seconds: float, lease_seconds: float) -> sa.ColumnElement[bool]:
    now = sa.func.now()
    return sa.and_(
        _is_free(holder, lease_seconds),
        sa.or_(
            LOCK.since <= now - timedelta(seconds=interval_seconds),
            sa.func.coalesce(LOCK.next_start_at <= now, False),
        ),
    )


def _is_free(holder: str, lease_seconds: float) -> sa.ColumnElement[bool]:
    oldest = sa.func.now() - timedelta(seconds=lease_seconds)
    return sa.or_(LOCK.holder.is_(None), LOCK.holder == holder, LOCK.heartbeat_at <= oldest)


def _take(
    connection: sa.Connection, name: str, holder: str, may_take: sa.ColumnElement[bool]
) -> LockHolder | None:
    taken = connection.execute(
        insert(service_lock)
        .values(name=name, holder=holder)
        .on_conflict_do_nothing(index_elements=[LOCK.name])
    )
    if taken.rowcount == 1:
        return None
    row = (
        sa.select(LOCK.name)
        .where(LOCK.name == name, may_take)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    taken = connection.execute(
        sa.update(service_lock)
        .where(LOCK.name == row)
        .values(holder=holder, since=sa.func.now(), heartbeat_at=sa.func.now())
    )
    if taken.rowcount == 1:
        return None
    found = connection.execute(sa.select(LOCK.holder, LOCK.since).where(LOCK.name == name)).one()
    return LockHolder(found.holder or "a process that just ended", found.since)
