"""An overview of the ledger for monitoring: counts of runs, chunks and outcomes, and ages."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from mernet.db.ledger.locks import seconds_since_start
from mernet.db.ledger.messages import SWEEP_LOCK
from mernet.db.ledger.runs import RUN_WAITS, RunState

RUNS = sa.text(f"""
SELECT CASE
    WHEN paused AND finished_at IS NULL THEN 'paused'
    WHEN {RUN_WAITS} THEN 'waiting'
    ELSE state
END AS state, count(*)
FROM run GROUP BY 1
""")

# Chunks of runs that have neither ended nor are paused. A run that waits does not idle.
CHUNKS = sa.text(f"""
SELECT
    count(*) FILTER (
        WHERE chunk.state = 'ready' AND chunk.sent_at IS NULL AND NOT chunk.waits
    ) AS unsent,
    count(*) FILTER (
        WHERE chunk.state = 'ready' AND chunk.sent_at IS NULL AND chunk.waits
    ) AS waiting,
    count(*) FILTER (WHERE chunk.state = 'ready' AND chunk.sent_at IS NOT NULL) AS queued,
    count(*) FILTER (WHERE chunk.state = 'claimed') AS claimed,
    extract(epoch FROM now() - min(chunk.sent_at) FILTER (
        WHERE chunk.state IN ('ready', 'claimed')
    ))::float AS oldest_message_seconds,
    extract(epoch FROM now() - min(chunk.last_heartbeat_at) FILTER (
        WHERE chunk.state = 'claimed'
    ))::float AS oldest_heartbeat_seconds,
    CASE WHEN bool_or(chunk.state IN ('ready', 'claimed') AND NOT run.waits) THEN
        extract(epoch FROM now() - greatest(max(run.created_at), max(chunk.closed_at)))::float
    END AS idle_seconds
FROM (SELECT run.*, {RUN_WAITS} AS waits FROM run) AS run CROSS JOIN LATERAL (
    SELECT chunk.*, EXISTS (
        SELECT FROM run_obstacle JOIN obstacle USING (kind, subject)
        WHERE run_obstacle.run_id = chunk.run_id AND cleared_at IS NULL
          AND run_obstacle.sources && chunk.sources
    ) AS waits
    FROM chunk WHERE chunk.run_id = run.run_id
) AS chunk
WHERE run.state = 'running' AND NOT run.paused
""")

OUTCOMES = sa.text("""
SELECT outcome.state, coalesce(outcome.reason, '') AS reason, count(*) AS products
FROM outcome JOIN classifier ON classifier.sha256 = outcome.classifier AND classifier.is_current
GROUP BY outcome.state, outcome.reason
""")

LAST_CHECKS = sa.text("""
SELECT source, products, extract(epoch FROM now() - max(checked_at))::float AS seconds
FROM listing_state
JOIN classifier ON classifier.sha256 = listing_state.classifier AND classifier.is_current
GROUP BY source, products
""")


@dataclass(frozen=True, slots=True)
class Overview:
    """Counts, and ages in seconds; an age is 0 if nothing has that age.

    Attributes:
        runs: Number of runs by state; 'paused' and 'waiting' count as states.
        outcomes: Number of outcomes under the current classifier by state and reason; the reason
            of 'classified' is ''.
        unsent: Chunks of running, unpaused runs for which no message is on its way. They are sent
            as others are claimed, a few at a time.
        waiting: Those that wait for something, such as an archive that does not answer.
        queued: Chunks of these runs whose message was sent, but which no worker has claimed.
        claimed: Chunks of these runs that a worker has claimed.
        oldest_message_seconds: Age of the oldest message of an open chunk.
        oldest_heartbeat_seconds: Age of the oldest heartbeat of a claimed chunk.
        idle_seconds: Time since a chunk was closed, while others are open of runs that do not wait.
        last_sweep_seconds: Time since the ledger was last swept; infinite if it never was.
        last_checks: Time since the ingest last checked an archive under the current classifier, by
            the archive's URL and the kind of products; an archive never checked is absent.
    """

    runs: Mapping[str, int]
    outcomes: Mapping[tuple[str, str], int]
    unsent: int
    waiting: int
    queued: int
    claimed: int
    oldest_message_seconds: float
    oldest_heartbeat_seconds: float
    idle_seconds: float
    last_sweep_seconds: float
    last_checks: Mapping[tuple[str, str], float]


def overview(engine: sa.Engine) -> Overview:
    """Return an overview of the ledger as it is now.

    Tried once, unlike all else in the ledger, because monitoring has to report a failure.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: The database failed.
    """
    with engine.begin() as connection:
        runs = {state.value: 0 for state in RunState} | {"paused": 0, "waiting": 0}
        runs |= dict(connection.execute(RUNS).all())
        chunks = connection.execute(CHUNKS).one()._asdict()
        outcomes = {(row.state, row.reason): row.products for row in connection.execute(OUTCOMES)}
        last_sweep = seconds_since_start(connection, SWEEP_LOCK)
        rows = connection.execute(LAST_CHECKS)
        checks = {(row.source, row.products): row.seconds for row in rows}
    return Overview(
        runs=runs,
        outcomes=outcomes,
        last_sweep_seconds=math.inf if last_sweep is None else last_sweep,
        last_checks=checks,
        **{name: value or 0 for name, value in chunks.items()},
    )
