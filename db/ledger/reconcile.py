"""Reconciliation: a run is complete, and its published rows follow from its scores."""

from dataclasses import dataclass

import sqlalchemy as sa

from mernet.db.engine import transaction
from mernet.db.ledger.runs import RunState, read_run

# The keys of the tables refuse a second outcome of one product. They cannot refuse one image under
# two versions of its name.
COUNTS = sa.text("""
SELECT
    count(*) AS listed,
    count(*) FILTER (WHERE outcome.state = 'classified') AS classified,
    count(*) FILTER (WHERE outcome.state = 'failed') AS failed,
    count(*) FILTER (WHERE outcome.state IS NULL) AS missing,
    count(*) - count(DISTINCT product.name_key) AS twice
FROM run_product
JOIN run USING (run_id)
JOIN product USING (product_id)
LEFT JOIN outcome
    ON outcome.product_id = run_product.product_id AND outcome.classifier = run.classifier
WHERE run.run_id = :run_id
""")

# Computed in another way than publishing does: by subscript, class by class.
WRONG_ROWS = sa.text("""
WITH member AS (
    SELECT run_product.product_id, run.classifier AS sha256
    FROM run_product
    JOIN run USING (run_id)
    WHERE run.run_id = :run_id
),
implied AS (
    SELECT
        outcome.product_id, effective.class AS code,
        outcome.scores[effective.position] AS score
    FROM member
    JOIN outcome
        ON outcome.product_id = member.product_id AND outcome.classifier = member.sha256
    JOIN effective_threshold AS effective ON effective.classifier = member.sha256
    WHERE outcome.scores[effective.position] > effective.threshold
),
published AS (
    SELECT classification.product_id, classification.class AS code, classification.probability
    FROM member
    JOIN classification
        ON classification.product_id = member.product_id
        AND classification.classifier = member.sha256
)
SELECT count(*)
FROM implied FULL JOIN published USING (product_id, code)
WHERE implied.score IS DISTINCT FROM published.probability
""")


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Counts of a run's products in the listing, the outcomes and the published table.

    Attributes:
        run_id: The run's number.
        state: The run's state.
        listed: Products that are members of the run.
        classified: Products with scores under the run's classifier.
        failed: Products that failed under it.
        missing: Products without an outcome under it.
        twice: Products of which another version is a member too.
        wrong_rows: Classifications that do not follow from the scores, are absent although they do,
            or have another probability.
    """

    run_id: int
    state: RunState
    listed: int
    classified: int
    failed: int
    missing: int
    twice: int
    wrong_rows: int

    @property
    def ok(self) -> bool:
        """Whether the run is finished and complete, without duplicates, and published as scored."""
        complete = self.listed == self.classified + self.failed
        return (
            self.state is RunState.FINISHED
            and complete
            and not (self.missing or self.twice or self.wrong_rows)
        )


@transaction
def reconcile(connection: sa.Connection, run_id: int | None = None) -> Reconciliation:
    """Compare the listing, outcomes and published rows of a run, the latest if none is given.

    Raises:
        UnknownRun: There is no such run.
    """
    run = read_run(connection, run_id)
    key = {"run_id": run.run_id}
    return Reconciliation(
        run_id=run.run_id,
        state=run.state,
        **connection.execute(COUNTS, key).one()._asdict(),
        wrong_rows=connection.execute(WRONG_ROWS, key).scalar_one(),
    )
