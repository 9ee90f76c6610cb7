"""Reconciliation: a run is complete, and its published rows follow from its scores."""

from dataclasses import dataclass

import sqlalchemy as sa

from mernet.db.engine import transaction
from mernet.db.ledger.runs import RunState, read_run
from mernet.db.publish import KNOWN_FROM_ELSEWHERE

# What the run did is its own record; what is there today has to follow from it. An outcome that is
# not there any more, not even in the history, was lost. Pruning a classifier loses all of its own.
COUNTS = sa.text("""
WITH member AS (
    SELECT
        run_product.product_id, run_product.result, run_product.reason,
        result IS NULL OR NOT (
            reason IS NOT DISTINCT FROM :known
            OR EXISTS (
                SELECT FROM outcome
                WHERE outcome.product_id = run_product.product_id
                  AND outcome.classifier = run.classifier
            )
            OR EXISTS (
                SELECT FROM outcome_history
                WHERE outcome_history.product_id = run_product.product_id
                  AND outcome_history.classifier = run.classifier
            )
        ) AS is_missing
    FROM run_product JOIN run USING (run_id)
    WHERE run_id = :run_id
)
SELECT
    count(*) AS listed,
    count(*) FILTER (WHERE result = 'classified' AND NOT is_missing) AS classified,
    count(*) FILTER (WHERE result = 'failed' AND NOT is_missing) AS failed,
    count(*) FILTER (WHERE result = 'kept' AND NOT is_missing) AS kept,
    count(*) FILTER (
        WHERE result = 'kept' AND NOT is_missing AND reason <> :known
    ) AS kept_failed,
    count(*) FILTER (WHERE is_missing) AS missing
FROM member
""")

# Two versions of one name in the listing of one source, and a second hit of one exposure in the
# search. A retry takes what failed, also two versions. What has come to the source later, or was
# known from there, was listed by another one.
TWICE = sa.text("""
SELECT (
    SELECT count(*) - count(DISTINCT (name_key, product.source))
    FROM run_product JOIN product USING (product_id) JOIN run USING (run_id)
    WHERE run_id = :run_id AND kind <> 'retry' AND reason IS DISTINCT FROM :known
      AND NOT EXISTS (
        SELECT FROM product_history AS was
        WHERE was.product_id = product.product_id AND was.source IS DISTINCT FROM product.source
    )
) + (
    SELECT count(*) - count(DISTINCT (product.exposure_key, shown.class))
    FROM run_product
    JOIN product USING (product_id)
    JOIN shown_classification AS shown USING (product_id)
    WHERE run_id = :run_id
)
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
    """What a run did with its products, and whether the tables of today agree.

    Attributes:
        run_id: The run's number.
        state: The run's state.
        listed: Products that are members of the run.
        classified: Products that the run classified.
        failed: Products that failed in the run.
        kept: Products that it left as they were, as in `RunProgress.kept`.
        kept_failed: Those of `kept` whose outcome was a failure.
        missing: Products without a result, or whose outcome is neither there nor in the history.
        twice: Products of which the source listed another version too, and hits of which the search
            shows another product of the exposure.
        wrong_rows: Classifications that do not follow from the scores, are absent although they do,
            or have another probability.
    """

    run_id: int
    state: RunState
    listed: int
    classified: int
    failed: int
    kept: int
    kept_failed: int
    missing: int
    twice: int
    wrong_rows: int

    @property
    def ok(self) -> bool:
        """Whether the run is finished and complete, without duplicates, and published as scored."""
        complete = self.listed == self.classified + self.failed + self.kept
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
    known = key | {"known": KNOWN_FROM_ELSEWHERE}
    return Reconciliation(
        run_id=run.run_id,
        state=run.state,
        **connection.execute(COUNTS, known).one()._asdict(),
        twice=connection.execute(TWICE, known).scalar_one(),
        wrong_rows=connection.execute(WRONG_ROWS, key).scalar_one(),
    )
