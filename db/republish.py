"""Publishing again from the scores that were kept, and the lock between it and publishing."""

from collections.abc import Iterable

import sqlalchemy as sa

# A class at a time: the planner then knows how many rows, and reads one score of each outcome.
WITHDRAW = sa.text("""
DELETE FROM classification USING effective_threshold AS effective
WHERE effective.classifier = :classifier AND effective.class = :code
  AND classification.classifier = :classifier AND classification.class = :code
  AND classification.probability <= effective.threshold
""")
# What is there already is left out by a join: with publishers kept away, ON CONFLICT DO NOTHING
# would do no more, and makes Postgres write a third more into its log.
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


def hold_thresholds(connection: sa.Connection) -> None:
    """Keep every threshold as it is until the transaction ends; many may hold at once.

    Who changes one waits for the holders and holds nothing that they may want, as long as they
    call this before they lock an outcome. It is a table lock, which is granted in the order of
    asking: with row locks, a stream of publishers could keep a change waiting for ever. A change
    by hand meets it too, like every write to the table.
    """
    connection.exec_driver_sql("LOCK TABLE class_threshold IN SHARE MODE")


def keep_publishers_away(connection: sa.Connection) -> None:
    """Wait until nobody holds the thresholds; nobody does then until the transaction ends."""
    connection.exec_driver_sql("LOCK TABLE class_threshold IN EXCLUSIVE MODE")


def republish(connection: sa.Connection, sha256: str, codes: Iterable[str]) -> tuple[int, int]:
    """Make a classifier's published rows of these classes what its scores say.

    How many rows were added, and how many withdrawn. Needs `keep_publishers_away` before.
    """
    added = withdrawn = 0
    for code in codes:
        key = {"classifier": sha256, "code": code}
        withdrawn += connection.execute(WITHDRAW, key).rowcount
        added += connection.execute(ADD, key).rowcount
    return added, withdrawn
