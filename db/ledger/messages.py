"""Which messages to send: of work that has none yet, and again of work that has stalled."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from mernet.db.engine import transaction
from mernet.db.ledger.run_products import unsent_chunks
from mernet.db.tables import chunk, run

# A message is due if none was sent, if the last was sent long ago, or if the claimant sends no more
# heartbeats. A ready chunk has no claimant; the chunk of a claimant without heartbeats is due once,
# then again only after the resend time.
STALE = sa.text("""
WITH work AS (
    SELECT run_id, NULL::integer AS number, last_heartbeat_at, sent_at
    FROM run WHERE state = 'listing' AND (not_before IS NULL OR not_before <= now())
    UNION ALL
    SELECT chunk.run_id, chunk.number, chunk.last_heartbeat_at, chunk.sent_at
    FROM chunk JOIN run USING (run_id)
    WHERE run.state = 'running' AND NOT run.paused AND chunk.state IN ('ready', 'claimed')
      AND (chunk.not_before IS NULL OR chunk.not_before <= now())
)
SELECT run_id, number FROM work
WHERE (
    last_heartbeat_at IS NULL
    OR last_heartbeat_at <= now() - make_interval(secs => :lease_seconds)
  )
  AND (
    sent_at IS NULL OR sent_at < last_heartbeat_at
    OR sent_at <= now() - make_interval(secs => :resend_seconds)
  )
ORDER BY run_id, number NULLS FIRST
""")


@transaction
def stale(
    connection: sa.Connection, lease_seconds: float, resend_seconds: float
) -> list[tuple[int, int | None]]:
    """Return the stalled work for which a message is to be sent again.

    Args:
        connection: The function's own transaction; callers pass the engine.
        lease_seconds: Seconds without a heartbeat after which a claim is void.
        resend_seconds: Seconds after which an unclaimed message is sent again.

    Returns:
        Pairs of run and chunk number; the number is None for a run's listing.
    """
    rows = connection.execute(
        STALE, {"lease_seconds": lease_seconds, "resend_seconds": resend_seconds}
    )
    return [(row.run_id, row.number) for row in rows]


@transaction
def unsent(connection: sa.Connection, run_id: int) -> list[int]:
    """Return the numbers of a run's ready chunks without a message on its way; none if paused."""
    return unsent_chunks(connection, run_id)


@transaction
def mark_listing_sent(connection: sa.Connection, run_id: int) -> None:
    """Note that the message for the run's listing was sent."""
    connection.execute(sa.update(run).where(run.c.run_id == run_id).values(sent_at=sa.func.now()))


@transaction
def mark_sent(connection: sa.Connection, run_id: int, numbers: Collection[int]) -> None:
    """Note that the messages for these chunks of a run were sent."""
    connection.execute(
        sa.update(chunk)
        .where(chunk.c.run_id == run_id, chunk.c.number.in_(numbers))
        .values(sent_at=sa.func.now())
    )


@contextmanager
def exclusive(engine: sa.Engine, name: str) -> Iterator[bool]:
    """Try to get the lock of this name until the block ends; yield whether this process has it.

    It never waits. The lock ends with its session: at once when the process dies, but a process
    that hangs keeps it, so the block needs a time limit that kills the process.
    """
    key = {"name": f"mernet {name}"}
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        locked = connection.execute(
            sa.text("SELECT pg_try_advisory_lock(hashtext(:name))"), key
        ).scalar_one()
        try:
            yield locked
        finally:
            if locked:
                connection.execute(sa.text("SELECT pg_advisory_unlock(hashtext(:name))"), key)
