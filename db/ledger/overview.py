"""The ledger at a glance, for monitoring: runs, chunks, outcomes, how long since what moved."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from mernet.db.ledger.runs import RunState

RUNS = sa.text("""
SELECT CASE WHEN paused AND finished_at IS NULL THEN 'paused' ELSE state END AS state, count(*)
FROM run GROUP BY 1
""")

# Of what may move: neither ended nor paused.
CHUNKS = sa.text("""
SELECT
    count(*) FILTER (WHERE chunk.state = 'ready' AND chunk.sent_at IS NULL) AS unsent,
    count(*) FILTER (WHERE chunk.state = 'ready' AND chunk.sent_at IS NOT NULL) AS untaken,
    count(*) FILTER (WHERE chunk.state = 'taken') AS taken,
    extract(epoch FROM now() - min(chunk.sent_at) FILTER (
        WHERE chunk.state IN ('ready', 'taken')
    ))::float AS oldest_seconds,
    extract(epoch FROM now() - min(chunk.taken_at) FILTER (
        WHERE chunk.state = 'taken'
    ))::float AS silent_seconds,
    CASE WHEN bool_or(chunk.state IN ('ready', 'taken')) THEN
        extract(epoch FROM now() - greatest(max(run.created_at), max(chunk.closed_at)))::float
    END AS idle_seconds
FROM chunk JOIN run USING (run_id)
WHERE run.state = 'running' AND NOT run.paused
""")

OUTCOMES = sa.text("""
SELECT outcome.state, coalesce(outcome.reason, '') AS reason, count(*) AS products
FROM outcome JOIN classifier ON classifier.sha256 = outcome.classifier AND classifier.is_current
GROUP BY outcome.state, outcome.reason
""")

LAST_LOOKS = sa.text("""
SELECT source, products, extract(epoch FROM now() - max(checked_at))::float AS seconds
FROM listing_state
JOIN classifier ON classifier.sha256 = listing_state.classifier AND classifier.is_current
GROUP BY source, products
""")


@dataclass(frozen=True, slots=True)
class Overview:
    """Counts, and ages in seconds, which are 0 where there is nothing to be old.

    `runs` by state, 'paused' one of them; `outcomes` under the current classifier, by state and
    reason ('' for classified). Of the runs that are running and not paused: chunks `unsent` (no
    message on its way), `untaken` (sent, not begun), `taken`; the age of the `oldest` message of an
    open chunk; for how long the most `silent` taker gave no sign of life; for how long the work was
    `idle`: no chunk closed, though some are open. `last_looks`: the time since the ingest last
    looked at an archive under the current classifier, by the archive's URL and the products asked
    for; it is not there before the first look.
    """

    runs: Mapping[str, int]
    outcomes: Mapping[tuple[str, str], int]
    unsent: int
    untaken: int
    taken: int
    oldest_seconds: float
    silent_seconds: float
    idle_seconds: float
    last_looks: Mapping[tuple[str, str], float]


def overview(engine: sa.Engine) -> Overview:
    """The ledger now. Tried once, unlike all else here: who watches wants to know of a failure.

    Raises `sqlalchemy.exc.SQLAlchemyError`.
    """
    with engine.begin() as connection:
        runs = {state.value: 0 for state in RunState} | {"paused": 0}
        runs |= dict(connection.execute(RUNS).all())
        chunks = connection.execute(CHUNKS).one()._asdict()
        outcomes = {(row.state, row.reason): row.products for row in connection.execute(OUTCOMES)}
        looks = {(row.source, row.products): row.seconds for row in connection.execute(LAST_LOOKS)}
    return Overview(
        runs=runs,
        outcomes=outcomes,
        last_looks=looks,
        **{name: value or 0 for name, value in chunks.items()},
    )
