"""Which messages to send: of work that has none yet, and again of work that has stalled.

Of each run only a few messages wait at a time. A small run therefore starts at once behind a large
one, and the broker never has to hold a large run.
"""

from collections.abc import Collection

import sqlalchemy as sa

from mernet.db.engine import transaction
from mernet.db.obstacles import LISTING_WAITS
from mernet.db.tables import chunk, run

SWEEP_LOCK = "sweep"
"""The lock of the sweep, which sends what these functions return."""

# Of the chunks that wait for something whose next try is due, one is sent, if none is on its way:
# it finds out for all. The planner does not know what the first limit will be; without the last
# one, it reads all chunks for a tenth of the run.
TAKE_UNSENT = sa.text("""
WITH obstructed AS (
    SELECT sources, next_try_at > now() AS is_waiting
    FROM run_obstacle JOIN obstacle USING (kind, subject)
    WHERE run_id = :run_id AND cleared_at IS NULL
),
sent AS (
    SELECT sources FROM chunk
    WHERE run_id = :run_id AND state = 'ready' AND sent_at IS NOT NULL
),
unsent AS NOT MATERIALIZED (
    SELECT chunk.run_id, chunk.number, chunk.sources
    FROM chunk JOIN run USING (run_id)
    WHERE chunk.run_id = :run_id AND run.state = 'running' AND NOT run.paused
      AND chunk.state = 'ready' AND chunk.sent_at IS NULL
),
free AS (
    SELECT run_id, number FROM unsent
    WHERE NOT EXISTS (SELECT FROM obstructed WHERE obstructed.sources && unsent.sources)
    ORDER BY number
    LIMIT (SELECT greatest(:most - count(*), 0) FROM sent)
),
probe AS (
    SELECT run_id, number FROM unsent
    WHERE EXISTS (SELECT FROM obstructed WHERE obstructed.sources && unsent.sources)
      AND NOT EXISTS (
        SELECT FROM obstructed WHERE is_waiting AND obstructed.sources && unsent.sources
      )
      AND NOT EXISTS (SELECT FROM sent JOIN obstructed ON obstructed.sources && sent.sources)
    ORDER BY number
    LIMIT 1
),
taken AS (SELECT * FROM free UNION ALL SELECT * FROM probe LIMIT :most),
locked AS (
    SELECT chunk.run_id, chunk.number FROM chunk JOIN taken USING (run_id, number)
    WHERE chunk.sent_at IS NULL
    FOR UPDATE OF chunk SKIP LOCKED
)
UPDATE chunk SET sent_at = now()
FROM locked
WHERE chunk.run_id = locked.run_id AND chunk.number = locked.number
RETURNING chunk.number
""")

# A message is due again if it was sent long ago and nobody has claimed its work, or if the claimant
# sends no more heartbeats. The work of a claimant without heartbeats is due once, then again only
# after the resend time.
STALE = sa.text(f"""
WITH work AS (
    SELECT run_id, NULL::integer AS number, last_heartbeat_at, sent_at
    FROM run
    WHERE finished_at IS NULL AND cardinality(unlisted) > 0
      AND NOT {LISTING_WAITS.format(run_id="run.run_id")}
    UNION ALL
    SELECT chunk.run_id, chunk.number, NULL, chunk.sent_at
    FROM chunk JOIN run USING (run_id)
    WHERE run.state = 'running' AND NOT run.paused
      AND chunk.state = 'ready' AND chunk.sent_at IS NOT NULL
    UNION ALL
    SELECT chunk.run_id, chunk.number, chunk.last_heartbeat_at, chunk.sent_at
    FROM chunk JOIN run USING (run_id)
    WHERE run.state = 'running' AND NOT run.paused AND chunk.state = 'claimed'
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

# The order is that of an index, so that the planner reads one chunk of each run, not all.
UNSENT_RUNS = sa.text("""
SELECT run.run_id
FROM run CROSS JOIN LATERAL (
    SELECT FROM chunk
    WHERE chunk.run_id = run.run_id AND chunk.state = 'ready' AND chunk.sent_at IS NULL
    ORDER BY chunk.number
    LIMIT 1
) AS first_unsent
WHERE run.state = 'running' AND NOT run.paused
ORDER BY run.run_id
""")


@transaction
def stale(
    connection: sa.Connection, lease_seconds: float, resend_seconds: float
) -> list[tuple[int, int | None]]:
    """Return the stalled work for which a message is to be sent again.

    Args:
        connection: The function's own transaction; callers pass the engine.
        lease_seconds: Seconds without a heartbeat after which a claim is void.
        resend_seconds: Seconds after which an unclaimed message may have been lost.

    Returns:
        Pairs of run and chunk number; the number is None for a run's listing.
    """
    rows = connection.execute(
        STALE, {"lease_seconds": lease_seconds, "resend_seconds": resend_seconds}
    )
    return [(row.run_id, row.number) for row in rows]


@transaction
def unsent_runs(connection: sa.Connection) -> list[int]:
    """Return the runs with ready chunks that have no message yet, oldest first; no paused ones."""
    return list(connection.execute(UNSENT_RUNS).scalars())


@transaction
def take_unsent(connection: sa.Connection, run_id: int, most_waiting: int) -> list[int]:
    """Choose the chunks of a run whose messages are to be sent now, and mark them as sent.

    Args:
        connection: The function's own transaction; callers pass the engine.
        run_id: The run; of one that is paused or not running, no chunk is chosen. Chunks that wait
            for an obstacle are not chosen either, except one when the next try is due.
        most_waiting: How many messages of the run may wait to be received.

    Returns:
        Numbers of ready chunks, in their order.
    """
    taken = connection.execute(TAKE_UNSENT, {"run_id": run_id, "most": most_waiting})
    return sorted(taken.scalars())


@transaction
def mark_unsent(connection: sa.Connection, run_id: int, numbers: Collection[int]) -> None:
    """Note that the messages for these chunks of a run could not be sent."""
    connection.execute(
        sa.update(chunk)
        .where(chunk.c.run_id == run_id, chunk.c.number.in_(numbers), chunk.c.state == "ready")
        .values(sent_at=None)
    )


@transaction
def mark_listing_sent(connection: sa.Connection, run_id: int) -> None:
    """Note that the message for the run's listing was sent."""
    connection.execute(sa.update(run).where(run.c.run_id == run_id).values(sent_at=sa.func.now()))


@transaction
def mark_sent(connection: sa.Connection, run_id: int, number: int) -> None:
    """Note that the message for a chunk of a run was sent again."""
    connection.execute(
        sa.update(chunk)
        .where(chunk.c.run_id == run_id, chunk.c.number == number)
        .values(sent_at=sa.func.now())
    )
