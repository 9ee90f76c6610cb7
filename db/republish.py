"""Publishing again from stored scores, and the lock that separates it from publishing chunks."""

from collections.abc import Iterable

import sqlalchemy as sa

# A class at a time: the planner then knows how many rows, and reads one score of each outcome.
WITHDRAW = sa.text("""
DELETE FROM classification USING effective_threshold AS effective
WHERE effective.classifier = :classifier AND effective.class = :code
  AND classification.classifier = :classifier AND classification.class = :code
  AND classification.probability <= effective.threshold
""")
# Rows that exist are left out by a join. ON CONFLICT DO NOTHING would have the same effect, since
# the lock excludes publishers, but makes Postgres write a third more into its log.
ADD = sa.text("""
INSERT INTO classification (product_id, classifier, class, probability)
SELECT outcome.product_id, outcome.classifier, effective.class, outcome.scores[effective.position]
FROM outcome CROSS JOIN effective_threshold AS effective
WHERE outcome.classifier = :classifier
  AND effective.classifier = :classifier AND effective.class = :code
  AND outcome.scores[effective.position] > effective.threshold
  AND NOT EXISTS (
    SELECT FROM classification AS present
    WHERE present.product_id = outcome.product_id
      AND present.classifier = :classifier AND present.class = :code
  )
ORDER BY outcome.product_id
""")


def lock_thresholds_for_publishing(connection: sa.Connection) -> None:
    """Lock all thresholds against changes until the transaction ends; many publishers may do so.

    Call it before locking an outcome: a change of a threshold that waits for publishers then holds
    no lock that they need. It is a table lock because those are granted in the order of requests;
    with row locks, a stream of publishers could keep a change waiting for ever. Every write to the
    table waits for it, also one by hand.
    """
    connection.exec_driver_sql("LOCK TABLE class_threshold IN SHARE MODE")


def lock_thresholds_for_change(connection: sa.Connection) -> None:
    """Wait for all publishers, and keep others waiting until the transaction ends."""
    connection.exec_driver_sql("LOCK TABLE class_threshold IN EXCLUSIVE MODE")


def republish(connection: sa.Connection, sha256: str, codes: Iterable[str]) -> tuple[int, int]:
    """Bring a classifier's published rows of some classes in line with its scores.

    `lock_thresholds_for_change` has to be called before.

    Args:
        connection: An open transaction.
        sha256: The classifier.
        codes: The classes.

    Returns:
        How many rows were added, and how many were withdrawn.
    """
    added = withdrawn = 0
    for code in codes:
        key = {"classifier": sha256, "code": code}
        withdrawn += connection.execute(WITHDRAW, key).rowcount
        added += connection.execute(ADD, key).rowcount
    return added, withdrawn
