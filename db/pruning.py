"""Old classifiers: what they published, and their outcomes, deleted batch by batch."""

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from mernet.db import classifiers
from mernet.db.classifiers import RegisteredClassifier
from mernet.db.engine import transaction
from mernet.db.errors import ClassifierInUse
from mernet.db.republish import hold_thresholds
from mernet.db.tables import classification, classifier, listing_state, outcome, run

BATCH = 5000
"""Outcomes deleted in one transaction: a second or so, in which their products are locked."""

NEXT = sa.text("""
SELECT array_agg(product_id) AS product_ids, max(product_id) AS last
FROM (
    SELECT product_id FROM outcome
    WHERE classifier = :classifier AND product_id > :after
    ORDER BY product_id LIMIT :batch
) AS next
""")


@dataclass(frozen=True, slots=True)
class Prunable:
    """How many outcomes a classifier has, and how many published rows."""

    outcomes: int
    classifications: int


@transaction
def prunable(connection: sa.Connection, name: str) -> Prunable:
    """What `prune` would delete; raises as `prune` does."""
    sha256 = _unused(connection, name).sha256
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
    """Delete a classifier's outcomes and published rows; after each batch, how many outcomes.

    With `keep_scores` only the published rows go, and come back when the classifier is promoted.
    A batch is one transaction, so what is interrupted can be begun again. The classifier stays
    registered; of runs that used it, the ledger no longer knows what became of their products.
    Raises `UnknownClassifier`, and `ClassifierInUse` when it is current (or becomes it meanwhile)
    or an open run uses it.
    """
    if keep_scores:
        _withdraw(engine, name)
    else:
        _forget_listings(engine, name)
    after = ""
    while found := _prune_batch(engine, name, keep_scores, after, batch):
        count, after = found
        yield count


@transaction
def _withdraw(connection: sa.Connection, name: str) -> None:
    """From here on nothing of the classifier counts as published, whatever is left of its rows."""
    connection.execute(
        sa.update(classifier)
        .where(classifier.c.sha256 == _unused(connection, name).sha256)
        .values(is_published=False)
    )


@transaction
def _forget_listings(connection: sa.Connection, name: str) -> None:
    """So that `mernet run new` under this classifier looks at everything again."""
    sha256 = _unused(connection, name).sha256
    connection.execute(sa.delete(listing_state).where(listing_state.c.classifier == sha256))


@transaction
def _prune_batch(
    connection: sa.Connection, name: str, keep_scores: bool, after: str, batch: int
) -> tuple[int, str] | None:
    """Prune the outcomes that follow the product `after`: how many, and the last; None at the end.

    Published rows first, in bulk: the foreign key would look for them one outcome at a time.
    """
    sha256 = _unused(connection, name).sha256
    hold_thresholds(connection)
    key = {"classifier": sha256, "after": after, "batch": batch}
    product_ids, last = connection.execute(NEXT, key).one()
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


def _unused(connection: sa.Connection, name: str) -> RegisteredClassifier:
    """The classifier, which nobody promotes until the transaction ends."""
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
        raise ClassifierInUse(
            f"Run {open_run} still uses {name}; wait for its end or use `mernet run cancel "
            f"{open_run}`."
        )
    return found
