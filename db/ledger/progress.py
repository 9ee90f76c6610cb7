"""How far a run is."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from db.engine import transaction
from db.ledger.runs import Run, read_run

COUNTS = sa.text("""
SELECT
    count(*) AS listed,
    count(*) FILTER (WHERE chunk.number IS NULL) AS already,
    count(*) FILTER (
        WHERE chunk.number IS NULL AND outcome.state = 'failed'
    ) AS already_failed,
    count(*) FILTER (WHERE chunk.state = 'done' AND outcome.state = 'classified') AS classified,
    count(*) FILTER (WHERE chunk.state = 'done' AND outcome.state = 'failed') AS failed,
    count(*) FILTER (WHERE chunk.state IN ('ready', 'taken')) AS waiting
FROM run_product
JOIN run USING (run_id)
LEFT JOIN chunk ON chunk.run_id = run.run_id AND chunk.number = run_product.chunk_number
LEFT JOIN outcome
    ON outcome.product_id = run_product.product_id AND outcome.classifier = run.classifier
WHERE run.run_id = :run_id
""")

FAILURES = sa.text("""
SELECT outcome.reason, count(*)
FROM run_product
JOIN run USING (run_id)
JOIN chunk ON chunk.run_id = run.run_id AND chunk.number = run_product.chunk_number
JOIN outcome
    ON outcome.product_id = run_product.product_id AND outcome.classifier = run.classifier
WHERE run.run_id = :run_id AND chunk.state = 'done' AND outcome.state = 'failed'
GROUP BY outcome.reason ORDER BY count(*) DESC, outcome.reason
""")

CHUNKS = sa.text("SELECT state, count(*) FROM chunk WHERE run_id = :run_id GROUP BY state")


@dataclass(frozen=True, slots=True)
class Progress:
    """Counts of a run's products: listed = already + classified + failed + waiting.

    `already` have an outcome that another run came to first, `already_failed` of them a failed
    one; `failures` counts this run's by reason, most frequent first; `chunks` counts chunks by
    state (ready, taken, done, split).
    """

    run: Run
    listed: int
    already: int
    already_failed: int
    classified: int
    failed: int
    waiting: int
    failures: Mapping[str, int]
    chunks: Mapping[str, int]


@transaction
def progress(connection: sa.Connection, run_id: int | None = None) -> Progress:
    """How far a run, or the latest one, is; raises `UnknownRun`."""
    run = read_run(connection, run_id)
    key = {"run_id": run.run_id}
    return Progress(
        run=run,
        **connection.execute(COUNTS, key).one()._asdict(),
        failures=dict(connection.execute(FAILURES, key).all()),
        chunks=dict(connection.execute(CHUNKS, key).all()),
    )
