"""Publishes outcomes and their classes, and decides which outcome may replace which."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mernet.db.engine import storable_text
from mernet.db.errors import OutcomeRefused
from mernet.db.republish import lock_thresholds_for_publishing
from mernet.db.tables import classification

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

CLASS_COUNT = 25

KNOWN_FROM_ELSEWHERE = "known from elsewhere"
"""Why a run kept what an archive, or another folder, has: it listed a copy of it."""

_OUTCOME_COLUMNS = (
    "product_ids", "states", "scores", "reasons", "details", "missing_shares", "are_lasting",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Classified:
    """The outcome of a product that the classifier scored.

    Attributes:
        product_id: The product's 27-character name.
        scores: 25 probabilities in the order of the chain.
        missing_share: Share of the image's pixels that were not received, 0 to 1; None if unknown.
    """

    product_id: str
    scores: "Sequence[float] | npt.NDArray[np.floating[Any]]"
    missing_share: float | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The outcome of a product that could not be scored.

    Attributes:
        product_id: The product's 27-character name.
        reason: A few words by which failures are counted.
        detail: The sentence for the reader.
        is_lasting: Whether the product itself is the cause, so that another attempt would fail too.
            Only such a failure may replace an outcome that is there.
    """

    product_id: str
    reason: str
    detail: str
    is_lasting: bool = False


Outcome = Classified | Failed

# One statement with arrays: measured four times as fast as one INSERT a row. A passing failure
# leaves an outcome as it is, unless that is a passing failure itself. What one archive lacks says
# nothing of the product that another one has, and the scores of its files replace none; nor does a
# failure say anything of a file that its archive lists no more, and may list again. The trigger on
# `outcome` keeps what is replaced.
UPSERT_OUTCOMES = sa.text("""
INSERT INTO outcome
    (product_id, classifier, run_id, state, scores, reason, detail, missing_share, is_lasting,
     attempts)
SELECT
    became.product_id, :classifier, :run_id, became.state, CAST(became.scores AS real[]),
    became.reason, became.detail, became.missing_share,
    became.is_lasting AND member.image_url IS NULL
        AND product.withdrawn_at IS NULL AND NOT product.superseded,
    :attempts
FROM unnest(
    CAST(:product_ids AS text[]), CAST(:states AS text[]), CAST(:scores AS text[]),
    CAST(:reasons AS text[]), CAST(:details AS text[]), CAST(:missing_shares AS real[]),
    CAST(:are_lasting AS boolean[])
) AS became (product_id, state, scores, reason, detail, missing_share, is_lasting)
JOIN product USING (product_id)
LEFT JOIN run_product AS member
    ON member.run_id = :run_id AND member.product_id = became.product_id
ORDER BY product.product_id
ON CONFLICT (product_id, classifier) DO UPDATE
SET (run_id, state, scores, reason, detail, missing_share, is_lasting, attempts, finished_at) = (
    excluded.run_id, excluded.state, excluded.scores, excluded.reason, excluded.detail,
    excluded.missing_share, excluded.is_lasting, excluded.attempts, now()
)
WHERE excluded.is_lasting
   OR (outcome.state = 'failed' AND (excluded.state = 'classified' OR NOT outcome.is_lasting))
   OR (excluded.state = 'classified' AND NOT EXISTS (
        SELECT FROM run_product AS member JOIN product USING (product_id)
        WHERE member.run_id = :run_id AND member.product_id = excluded.product_id
          AND member.source <> product.source
   ))
RETURNING product_id
""")

# The run's own record of what became of its products, whatever the table of outcomes says later.
RECORD_RESULTS = sa.text("""
UPDATE run_product
SET (result, reason, detail, recorded_at) =
    (became.state, became.reason, became.detail, clock_timestamp())
FROM unnest(
    CAST(:product_ids AS text[]), CAST(:states AS text[]), CAST(:reasons AS text[]),
    CAST(:details AS text[])
) AS became (product_id, state, reason, detail)
WHERE run_product.run_id = :run_id AND run_product.product_id = became.product_id
""")

RECORD_KEPT = sa.text("""
UPDATE run_product
SET (result, reason, detail) = ('kept', :known, concat(product.source, ' lists it.'))
FROM product
WHERE run_id = :run_id AND run_product.product_id = ANY (:product_ids)
  AND product.product_id = run_product.product_id
""")

# Scores are compared as they are stored, `real` with `real`: a double 0.9 would publish or drop the
# boundary by accident.
PUBLISH_CLASSES = sa.text("""
INSERT INTO classification (product_id, classifier, class, probability)
SELECT outcome.product_id, outcome.classifier, effective.class, scored.probability
FROM outcome
CROSS JOIN unnest(outcome.scores) WITH ORDINALITY AS scored (probability, position)
JOIN effective_threshold AS effective
    ON effective.classifier = outcome.classifier AND effective.position = scored.position
WHERE outcome.classifier = :classifier
  AND outcome.product_id = ANY (:product_ids)
  AND scored.probability > effective.threshold
ORDER BY outcome.product_id, effective.class
""")


def publish_outcomes(
    connection: sa.Connection,
    classifier_sha256: str,
    run_id: int,
    attempts: int,
    outcomes: Sequence[Outcome],
) -> None:
    """Publish the outcomes of a run's products, and record them as the run's results.

    An outcome with scores, or of a lasting failure, replaces an earlier outcome under the
    classifier and its published classes; the replaced one is kept in `outcome_history` if its
    state, scores or reason differ. A passing failure leaves an earlier outcome and its classes as
    they are, unless that one is a passing failure too. A failure at another archive than the one
    that has the product is a passing one; scores from there replace no scores, and the result is
    'kept'. A failure of a product that was withdrawn or superseded is a passing one, too.

    The thresholds are locked first, so that a change of one never waits for an outcome. Outcomes
    are written before classes, in the order of the products' names: their row locks then keep other
    runs away, without deadlocks.

    Raises:
        OutcomeRefused: The scores of a product are not 25 probabilities.
    """
    lock_thresholds_for_publishing(connection)
    rows = [_to_columns(outcome) for outcome in sorted(outcomes, key=lambda each: each.product_id)]
    columns = {
        name: [row[position] for row in rows] for position, name in enumerate(_OUTCOME_COLUMNS)
    }
    key = {"classifier": classifier_sha256, "run_id": run_id}
    written = connection.scalars(UPSERT_OUTCOMES, key | {"attempts": attempts} | columns).all()
    connection.execute(
        sa.delete(classification).where(
            classification.c.classifier == classifier_sha256,
            classification.c.product_id == sa.any_(sa.literal(written, sa.ARRAY(sa.Text))),
        )
    )
    connection.execute(PUBLISH_CLASSES, {"classifier": classifier_sha256, "product_ids": written})
    connection.execute(RECORD_RESULTS, key | columns)
    scored = {each.product_id for each in outcomes if isinstance(each, Classified)}
    if kept := sorted(scored.difference(written)):
        known = {"known": KNOWN_FROM_ELSEWHERE, "product_ids": kept}
        connection.execute(RECORD_KEPT, key | known)


def _to_columns(outcome: Outcome) -> tuple[object, ...]:
    """Return an outcome as it is stored, in the order of `_OUTCOME_COLUMNS`."""
    if isinstance(outcome, Failed):
        reason, detail = storable_text(outcome.reason), storable_text(outcome.detail)
        return outcome.product_id, "failed", None, reason, detail, None, outcome.is_lasting
    scores = _array_literal(outcome)
    return outcome.product_id, "classified", scores, None, None, outcome.missing_share, False


def _array_literal(classified: Classified) -> str:
    """Return the scores as a Postgres array; this is the only place that rounds them to `real`."""
    scores = array("f", classified.scores)
    if len(scores) != CLASS_COUNT or not all(0 <= score <= 1 for score in scores):
        raise OutcomeRefused(
            f"The scores of {classified.product_id} are not {CLASS_COUNT} probabilities from 0 to "
            "1; check the classifier's checkpoint."
        )
    return "{" + ",".join(map(str, scores)) + "}"
