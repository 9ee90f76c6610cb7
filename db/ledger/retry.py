"""Retries: a run over the products that failed, all of them or by reason."""

import sqlalchemy as sa

from mernet.db import classifiers
from mernet.db.errors import RunRefused
from mernet.db.ledger.listed_table import list_selected
from mernet.db.ledger.run_products import enrol
from mernet.db.ledger.runs import Run, RunKind, RunState, insert_run, read_run
from mernet.db.products import PRODUCT_COLUMNS

FAILED_PRODUCTS = f"""
SELECT {", ".join(f"product.{name}" for name in PRODUCT_COLUMNS)}
FROM outcome JOIN product USING (product_id)
WHERE outcome.classifier = :classifier AND outcome.state = 'failed'
  AND (CAST(:reason AS text) IS NULL OR outcome.reason = :reason)
  AND (CAST(:failed_in AS integer) IS NULL OR outcome.run_id = :failed_in)
  AND product.withdrawn_at IS NULL
  AND NOT product.superseded
ORDER BY product.product_id
"""


def create_retry(
    engine: sa.Engine,
    chunk_size: int = 32,
    reason: str | None = None,
    failed_in: int | None = None,
) -> Run | None:
    """Create a run over the products that failed under the current classifier.

    Its chunks are ready. Products that were withdrawn, or that a newer listed version supersedes,
    are left out.

    Args:
        engine: The ledger.
        chunk_size: How many products a chunk holds.
        reason: Only products that failed for this reason.
        failed_in: Only products that failed in this run and were not tried in a later one.

    Returns:
        The run, or None if there are no such products.

    Raises:
        UnknownClassifier: No classifier is current.
        UnknownRun: There is no run `failed_in`.
        RunRefused: The chunk size is below 1, or the run `failed_in` used another classifier.
    """
    with engine.begin() as connection:
        current = classifiers.current_in(connection)
        if failed_in is not None:
            _require_classifier_of_run(connection, failed_in, current)
        values = {"classifier": current.sha256, "reason": reason, "failed_in": failed_in}
        listed = list_selected(connection, FAILED_PRODUCTS, values)
        if not listed.count():
            return None
        created = insert_run(
            connection,
            kind=RunKind.RETRY,
            state=RunState.RUNNING,
            archives=(),
            products="any",
            chunk_size=chunk_size,
            reclassify=True,
        )
        enrol(listed, created.run_id)
        return read_run(connection, created.run_id)


def _require_classifier_of_run(
    connection: sa.Connection, run_id: int, current: classifiers.RegisteredClassifier
) -> None:
    if read_run(connection, run_id).classifier != current.sha256:
        raise RunRefused(
            f"Run {run_id} used another classifier than {current.name}, which is current; promote "
            "that classifier, or retry without naming a run."
        )
