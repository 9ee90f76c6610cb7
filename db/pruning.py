"""Pruning: delete the published rows and outcomes of old classifiers, batch by batch."""

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from mernet.db import classifiers
from mernet.db.classifiers import RegisteredClassifier
from mernet.db.engine import transaction
from mernet.db.errors import ClassifierInOpenRun, ClassifierInUse
from mernet.db.republish import lock_thresholds_for_publishing
from mernet.db.tables import classification, classifier, listing_state, outcome, run

BATCH = 5000
"""Outcomes deleted in one transaction; it takes about a second and locks their products."""

NEXT_BATCH = sa.text("""
SELECT array_agg(product_id) AS product_ids, max(product_id) AS last
FROM (
    SELECT product_id FROM outcome
    WHERE classifier = :classifier AND product_id > :after
    ORDER BY product_id LIMIT :batch
) AS next
""")


@dataclass(frozen=True, slots=True)
class Prunable:
    """Number of outcomes and of published rows that a classifier has."""

    outcomes: int
    classifications: int


@transaction
def prunable(connection: sa.Connection, name: str) -> Prunable:
    """Return how many rows `prune` would delete; raises as `prune` does."""
    sha256 = _require_unused(connection, name).sha256
    return Prunable(
        *(
            connection.execute(
                sa.select(sa.func.count()).select_from(table).where(table.c.classifier == sha256)
            ).scalar_one()
            for table in (outcome, classification)
        )
    )


def prune(
    engine: sa.Engine, name: str, keep_scores: bool = False, batch: int = BATCH
) -> Iterator[int]:
    """Delete a classifier's outcomes and published rows.

    A batch is one transaction, so an interrupted pruning can be started again. The classifier stays
    registered. Reconciling its old runs then finds that their outcomes, or published rows, are
    missing. This is the one deletion that adds nothing to the history, which itself stays.

    Args:
        engine: The ledger.
        name: The classifier's name.
        keep_scores: Delete the published rows only; promoting the classifier publishes them again.
        batch: How many outcomes to delete in one transaction.

    Yields:
        After each batch, how many outcomes were in it.

    Raises:
        UnknownClassifier: No classifier has this name.
        ClassifierInUse: It is current, or an open run uses it; this may also happen between two
            batches.
    """
    if keep_scores:
        _mark_unpublished(engine, name)
    else:
        _delete_known_listings(engine, name)
    after = ""
    while found := _prune_batch(engine, name, keep_scores, after, batch):
        count, after = found
        yield count


@transaction
def _mark_unpublished(connection: sa.Connection, name: str) -> None:
    """Mark the classifier as unpublished before its first row is deleted."""
    connection.execute(
        sa.update(classifier)
        .where(classifier.c.sha256 == _require_unused(connection, name).sha256)
        .values(is_published=False)
    )


@transaction
def _delete_known_listings(connection: sa.Connection, name: str) -> None:
    """Delete the known listings, so that the classifier's next ingest finds all products."""
    sha256 = _require_unused(connection, name).sha256
    connection.execute(sa.delete(listing_state).where(listing_state.c.classifier == sha256))


@transaction
def _prune_batch(
    connection: sa.Connection, name: str, keep_scores: bool, after: str, batch: int
) -> tuple[int, str] | None:
    """Prune the outcomes that follow the product `after`.

    Published rows are deleted first, in bulk: the foreign key would delete them outcome by outcome.

    Returns:
        How many outcomes there were, and the last product; None if there were none.
    """
    sha256 = _require_unused(connection, name).sha256
    lock_thresholds_for_publishing(connection)
    key = {"classifier": sha256, "after": after, "batch": batch}
    product_ids, last = connection.execute(NEXT_BATCH, key).one()
    if last is None:
        return None
    for table in (classification,) if keep_scores else (classification, outcome):
        connection.execute(
            sa.delete(table).where(
                table.c.classifier == sha256,
                table.c.product_id == sa.any_(sa.literal(product_ids, sa.ARRAY(sa.Text))),
            )
        )
    return len(product_ids), last


def _require_unused(connection: sa.Connection, name: str) -> RegisteredClassifier:
    """Return the classifier; until the transaction ends, no other can promote it."""
    connection.exec_driver_sql("LOCK TABLE classifier IN ROW EXCLUSIVE MODE")
    found = classifiers.named(connection, name)
    if found.is_current:
        raise ClassifierInUse(f"{name} is current; promote another classifier before pruning it.")
    open_run = connection.scalar(
        sa.select(sa.func.min(run.c.run_id)).where(
            run.c.classifier == found.sha256, run.c.finished_at.is_(None)
        )
    )
    if open_run is not None:
        raise ClassifierInOpenRun(
            f"Run {open_run} still uses {name}; wait until it has ended, or cancel it."
        )
    return found
