"""Retries: a run over the products that failed, all of them or by reason."""

import sqlalchemy as sa

from mernet.db import classifiers
from mernet.db.errors import RunRefused
from mernet.db.ledger.members import enrol
from mernet.db.ledger.runs import Run, RunKind, RunState, insert_run, read_run

FAILED_PRODUCTS = sa.text("""
CREATE TEMPORARY TABLE listed ON COMMIT DROP AS
SELECT product_id, row_number() OVER (ORDER BY product_id) AS position
FROM outcome JOIN product USING (product_id)
WHERE outcome.classifier = :classifier AND outcome.state = 'failed'
  AND (CAST(:reason AS text) IS NULL OR outcome.reason = :reason)
  AND (CAST(:failed_in AS integer) IS NULL OR outcome.run_id = :failed_in)
  AND product.withdrawn_at IS NULL
  AND NOT EXISTS (
    SELECT FROM product AS newer
    WHERE newer.name_key = product.name_key AND newer.version > product.version
      AND newer.withdrawn_at IS NULL
  )
""")


def create_retry(
    engine: sa.Engine,
    chunk_size: int = 32,
    reason: str | None = None,
    failed_in: int | None = None,
) -> Run | None:
    """A run over the products that failed under the current classifier, None without any.

    Only those that failed for `reason`, and in the run `failed_in` and in none after it, if given.
    What was withdrawn, or is superseded by a newer listed version, is left as it is. The chunks are
    ready at once. Raises `UnknownClassifier` when no classifier is current, `UnknownRun`, and
    `RunRefused` for a chunk size below 1 or a run under another classifier.
    """
    with engine.begin() as connection:
        current = classifiers.current_in(connection)
        if failed_in is not None:
            _refuse_other_classifier(connection, failed_in, current)
        found = connection.execute(
            FAILED_PRODUCTS,
            {"classifier": current.sha256, "reason": reason, "failed_in": failed_in},
        )
        if not found.rowcount:
            return None
        made = insert_run(
            connection,
            kind=RunKind.RETRY,
            state=RunState.RUNNING,
            archives=(),
            products="any",
            chunk_size=chunk_size,
            reclassify=True,
        )
        enrol(connection, made.run_id)
        return read_run(connection, made.run_id)


def _refuse_other_classifier(
    connection: sa.Connection, run_id: int, current: classifiers.RegisteredClassifier
) -> None:
    if read_run(connection, run_id).classifier != current.sha256:
        raise RunRefused(
            f"Run {run_id} used another classifier than {current.name}, the current one; promote "
            "that one again, or retry without naming a run."
        )
