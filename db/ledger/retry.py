"""Retries: a run over the products that failed, all of them or by reason."""

from collections.abc import Mapping

import sqlalchemy as sa

from mernet.db import classifiers
from mernet.db.engine import transaction_once
from mernet.db.errors import RunRefused
from mernet.db.ledger.listed_table import Listed, list_selected
from mernet.db.ledger.run_products import enrol
from mernet.db.ledger.runs import Run, RunKind, RunState, insert_run, read_run
from mernet.db.products import columns_as_listed

# The latest failure of each product, unless it was classified since. An outcome that such a failure
# left as it was is older. What failed at another archive than the one that it has scores from would
# be kept again.
FAILED = """
WITH failed AS (
    SELECT product_id, run_id, reason, recorded_at FROM run_product WHERE result = 'failed'
    UNION ALL
    SELECT product_id, run_id, reason, finished_at FROM outcome
    WHERE classifier = :classifier AND state = 'failed'
),
failure AS (
    SELECT DISTINCT ON (product_id) product_id, run_id, reason, recorded_at, run.mirror
    FROM failed JOIN run USING (run_id)
    WHERE run.classifier = :classifier
    ORDER BY product_id, recorded_at DESC, run_id DESC
)
SELECT {columns}
FROM failure
JOIN product USING (product_id)
LEFT JOIN run_product AS failed_as
    ON failed_as.run_id = failure.run_id AND failed_as.product_id = failure.product_id
LEFT JOIN outcome
    ON outcome.product_id = failure.product_id AND outcome.classifier = :classifier
WHERE (CAST(:reason AS text) IS NULL OR failure.reason = :reason)
  AND (CAST(:failed_in AS integer) IS NULL OR failure.run_id = :failed_in)
  AND (outcome.state = 'classified' AND (
    outcome.finished_at > failure.recorded_at OR failed_as.source <> product.source
  )) IS NOT TRUE
  AND product.withdrawn_at IS NULL AND NOT product.superseded
"""
FAILED_PRODUCTS = f"""
{FAILED.format(columns=columns_as_listed("failed_as"))}
ORDER BY product.product_id
"""
MIRRORS = sa.text(FAILED.format(columns="DISTINCT failure.mirror"))


@transaction_once
def create_retry(
    connection: sa.Connection,
    chunk_size: int = 32,
    reason: str | None = None,
    failed_in: int | None = None,
    mirror: str | None = None,
) -> Run | None:
    """Create a run over the products whose latest result under the current classifier is a failure.

    That includes those of which an earlier outcome stayed. Its chunks are ready. Products that were
    withdrawn, or of which the archive lists a higher version, are left out. Each is read where the
    run in which it failed had listed it.

    Args:
        connection: The function's own transaction; callers pass the engine.
        chunk_size: How many products a chunk holds.
        reason: Only products that failed for this reason.
        failed_in: Only products that failed in this run and were not tried in a later one.
        mirror: A place from which to read the archives; by default that of the runs in which the
            products failed, if they all had the same.

    Returns:
        The run, or None if there are no such products.

    Raises:
        UnknownClassifier: No classifier is current.
        UnknownRun: There is no run `failed_in`.
        RunRefused: The chunk size is below 1, or the run `failed_in` used another classifier.
    """
    current = classifiers.current_in(connection)
    if failed_in is not None:
        _require_classifier_of_run(connection, failed_in, current)
    values = {"classifier": current.sha256, "reason": reason, "failed_in": failed_in}
    listed = list_selected(connection, FAILED_PRODUCTS, values)
    if not listed.count():
        return None
    return _retry_of(listed, chunk_size, mirror or _common_mirror(connection, values))


def _retry_of(listed: Listed, chunk_size: int, mirror: str | None) -> Run:
    created = insert_run(
        listed.connection,
        kind=RunKind.RETRY,
        state=RunState.RUNNING,
        archives=(),
        products="any",
        chunk_size=chunk_size,
        reclassify=True,
        mirror=mirror,
    )
    enrol(listed, created.run_id)
    return read_run(listed.connection, created.run_id)


def _common_mirror(connection: sa.Connection, values: Mapping[str, object]) -> str | None:
    mirrors = connection.scalars(MIRRORS, values).all()
    return mirrors[0] if len(mirrors) == 1 else None


def _require_classifier_of_run(
    connection: sa.Connection, run_id: int, current: classifiers.RegisteredClassifier
) -> None:
    if read_run(connection, run_id).classifier != current.sha256:
        raise RunRefused(
            f"Run {run_id} used another classifier than {current.name}, which is current; promote "
            "that classifier, or retry without naming a run."
        )
