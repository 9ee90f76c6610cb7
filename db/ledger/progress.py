"""The progress of a run: counts, rate, failures."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from mernet.db.engine import transaction
from mernet.db.ledger.runs import Run, read_run
from mernet.db.publish import KNOWN_FROM_ELSEWHERE

# Only the run's own record: later runs may change outcomes, but not what this one did.
COUNTS = sa.text("""
SELECT
    count(*) AS listed,
    count(*) FILTER (WHERE result = 'kept') AS kept,
    count(*) FILTER (WHERE result = 'kept' AND reason <> :known) AS kept_failed,
    count(*) FILTER (WHERE result = 'kept' AND reason = :known) AS known,
    count(*) FILTER (WHERE result = 'classified') AS classified,
    count(*) FILTER (WHERE result = 'failed') AS failed,
    count(*) FILTER (WHERE chunk.state IN ('ready', 'claimed')) AS waiting
FROM run_product
LEFT JOIN chunk
    ON chunk.run_id = run_product.run_id AND chunk.number = run_product.chunk_number
WHERE run_product.run_id = :run_id
""")

FAILURES = sa.text("""
SELECT reason, count(*) FROM run_product
WHERE run_id = :run_id AND result = 'failed'
GROUP BY reason ORDER BY count(*) DESC, reason
""")

FAILED_PRODUCTS = sa.text("""
SELECT product_id, reason, detail FROM run_product
WHERE run_id = :run_id
  AND (result = 'failed' OR (result = 'kept' AND reason <> :known))
ORDER BY reason, product_id
""")

# Of an open run, the chunks closed recently; of one that has ended, all of its chunks.
RATE = sa.text("""
WITH span AS (
    SELECT run_id, coalesce(finished_at, now()) AS until,
        CASE WHEN finished_at IS NULL
            THEN greatest(created_at, now() - make_interval(secs => :recent_seconds))
            ELSE created_at
        END AS since
    FROM run WHERE run_id = :run_id
)
SELECT count(run_product.product_id)
    / nullif(extract(epoch FROM min(span.until) - min(span.since)), 0)::float
FROM span
JOIN chunk ON chunk.run_id = span.run_id AND chunk.state = 'done' AND chunk.closed_at >= span.since
JOIN run_product
    ON run_product.run_id = chunk.run_id AND run_product.chunk_number = chunk.number
""")

CHUNKS = sa.text("SELECT state, count(*) FROM chunk WHERE run_id = :run_id GROUP BY state")

RECENT_SECONDS = 300
"""Seconds over which the rate of an open run is measured; from its start if it is younger."""


@dataclass(frozen=True, slots=True)
class FailedProduct:
    """A product that failed.

    Attributes:
        product_id: The product's 27-character name.
        reason: A few words by which failures are counted.
        detail: The sentence for the reader.
    """

    product_id: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class RunProgress:
    """Counts of a run's products: listed = kept + classified + failed + waiting.

    Attributes:
        run: The run.
        listed: Products that are members of the run.
        kept: Products that the run left as they were: another run had their outcome, or another
            archive or folder has them.
        kept_failed: Those of `kept` whose outcome was a failure.
        known: Those of `kept` that another archive or folder has.
        classified: Products that this run classified.
        failed: Products that failed in this run.
        waiting: Products in open chunks.
        failures: `failed` by reason, the most frequent first.
        chunks: Number of chunks by state (ready, claimed, done, split).
        rate: Products per second; of an open run, over the last `RECENT_SECONDS`.
        seconds_left: Time until the run is finished at this rate; None if the rate is 0 or no
            product is waiting.
    """

    run: Run
    listed: int
    kept: int
    kept_failed: int
    known: int
    classified: int
    failed: int
    waiting: int
    failures: Mapping[str, int]
    chunks: Mapping[str, int]
    rate: float
    seconds_left: float | None


@transaction
def progress(connection: sa.Connection, run_id: int | None = None) -> RunProgress:
    """Return the progress of a run, the latest if no number is given.

    Raises:
        UnknownRun: There is no such run.
    """
    run = read_run(connection, run_id)
    key = {"run_id": run.run_id}
    counts = connection.execute(COUNTS, key | {"known": KNOWN_FROM_ELSEWHERE}).one()._asdict()
    rate = connection.scalar(RATE, key | {"recent_seconds": RECENT_SECONDS}) or 0.0
    return RunProgress(
        run=run,
        rate=rate,
        seconds_left=counts["waiting"] / rate if rate and counts["waiting"] else None,
        **counts,
        failures=dict(connection.execute(FAILURES, key).all()),
        chunks=dict(connection.execute(CHUNKS, key).all()),
    )


@transaction
def failed_products(connection: sa.Connection, run_id: int) -> list[FailedProduct]:
    """Return the members of a run that failed, in it or in an earlier run, sorted by reason."""
    key = {"run_id": run_id, "known": KNOWN_FROM_ELSEWHERE}
    return [FailedProduct(*row) for row in connection.execute(FAILED_PRODUCTS, key)]
