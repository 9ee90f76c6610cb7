"""Results in: what became of a chunk's products replaces what was published of them before."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from mernet.db.engine import transaction
from mernet.db.errors import OutcomeRefused
from mernet.db.republish import hold_thresholds
from mernet.db.tables import chunk, classification, run, run_product
from mernet.db.text import storable

CLASS_COUNT = 25


@dataclass(frozen=True, slots=True)
class Classified:
    """A product that the classifier scored: 25 probabilities in the order of the chain."""

    product_id: str
    scores: Sequence[float] | npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Failed:
    """A product that could not be scored: a short reason to count by, and the sentence to read."""

    product_id: str
    reason: str
    detail: str


Outcome = Classified | Failed

# One statement with arrays: measured four times as fast as one INSERT a row.
UPSERT_OUTCOMES = sa.text("""
INSERT INTO outcome
    (product_id, classifier, run_id, state, scores, reason, detail, attempts)
SELECT
    product_id, :classifier, :run_id, state, CAST(scores AS real[]), reason, detail, :attempts
FROM unnest(
    CAST(:product_ids AS text[]), CAST(:states AS text[]), CAST(:scores AS text[]),
    CAST(:reasons AS text[]), CAST(:details AS text[])
) AS became (product_id, state, scores, reason, detail)
ON CONFLICT (product_id, classifier) DO UPDATE
SET (run_id, state, scores, reason, detail, attempts, finished_at) = (
    excluded.run_id, excluded.state, excluded.scores, excluded.reason, excluded.detail,
    excluded.attempts, now()
)
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


@transaction
def publish_chunk(
    connection: sa.Connection, run_id: int, number: int, outcomes: Sequence[Outcome]
) -> bool:
    """Publish the outcomes of a chunk, close it, and finish its run with the last one.

    False, and nothing is written, when there is nothing to do: the chunk was closed already or was
    split, or its run has ended. Who holds the chunk does not matter, since outcomes depend on the
    images and the classifier alone.
    Raises `OutcomeRefused` unless there is exactly one outcome for each product of the chunk.
    """
    held = open_chunk(connection, run_id, number)
    if held is None:
        return False
    settle_chunk(connection, held, outcomes)
    return True


def open_chunk(connection: sa.Connection, run_id: int, number: int) -> "sa.Row[Any] | None":
    """Lock a run and then its chunk until the transaction ends: always in this order, no deadlock.

    The chunk's row with the run's `classifier`, or None unless the run is running and the chunk is
    ready or taken.
    """
    classifier = connection.execute(
        sa.select(run.c.classifier)
        .where(run.c.run_id == run_id, run.c.state == "running")
        .with_for_update(key_share=True)
    ).scalar_one_or_none()
    if classifier is None:
        return None
    return connection.execute(
        sa.select(chunk, sa.literal(classifier).label("classifier"))
        .where(
            chunk.c.run_id == run_id,
            chunk.c.number == number,
            chunk.c.state.in_(("ready", "claimed")),
        )
        .with_for_update(of=chunk, key_share=True)
    ).one_or_none()


def settle_chunk(
    connection: sa.Connection, held: "sa.Row[Any]", outcomes: Sequence[Outcome]
) -> None:
    """Publish the outcomes of the chunk that `open_chunk` gave, and close it."""
    ordered = sorted(outcomes, key=lambda each: each.product_id)
    _refuse_other_products(connection, held, [each.product_id for each in ordered])
    _replace(connection, held, ordered)
    close_chunk(connection, held)


def close_chunk(connection: sa.Connection, held: "sa.Row[Any]") -> None:
    """Close the chunk that `open_chunk` gave, and finish its run if it was the last one."""
    connection.execute(
        sa.update(chunk)
        .where(chunk.c.run_id == held.run_id, chunk.c.number == held.number)
        .values(state="done", closed_at=sa.func.now())
    )
    connection.execute(
        sa.update(run)
        .where(run.c.run_id == held.run_id, ~_has_open_chunk(held.run_id))
        .values(state="finished", finished_at=sa.func.now())
    )


def _replace(connection: sa.Connection, held: "sa.Row[Any]", ordered: list[Outcome]) -> None:
    """Outcomes first: their row locks, taken in order of the names, keep other runs away.

    Before them the thresholds, so that who changes one never waits for an outcome.
    """
    hold_thresholds(connection)
    columns = zip(*map(_row, ordered), strict=True)
    product_ids, states, scores, reasons, details = map(list, columns)
    connection.execute(
        UPSERT_OUTCOMES,
        {
            "classifier": held.classifier,
            "run_id": held.run_id,
            "attempts": max(held.attempts, 1),
            "product_ids": product_ids,
            "states": states,
            "scores": scores,
            "reasons": reasons,
            "details": details,
        },
    )
    connection.execute(
        sa.delete(classification).where(
            classification.c.classifier == held.classifier,
            classification.c.product_id == sa.any_(sa.literal(product_ids, sa.ARRAY(sa.Text))),
        )
    )
    connection.execute(PUBLISH_CLASSES, {"classifier": held.classifier, "product_ids": product_ids})


def _row(each: Outcome) -> tuple[str, str, str | None, str | None, str | None]:
    """Product, state, scores, reason, detail."""
    if isinstance(each, Failed):
        return each.product_id, "failed", None, storable(each.reason), storable(each.detail)
    return each.product_id, "classified", _scores(each), None, None


def _scores(classified: Classified) -> str:
    """The scores as Postgres writes an array, each rounded to `real` once and here."""
    scores = np.asarray(classified.scores, dtype=np.float32)
    if scores.shape != (CLASS_COUNT,) or not ((scores >= 0) & (scores <= 1)).all():
        raise OutcomeRefused(
            f"The scores of {classified.product_id} are not {CLASS_COUNT} probabilities from 0 to "
            "1; check the classifier's checkpoint."
        )
    return "{" + ",".join(map(str, scores.tolist())) + "}"


def _refuse_other_products(
    connection: sa.Connection, held: "sa.Row[Any]", product_ids: list[str]
) -> None:
    expected = connection.execute(
        sa.select(run_product.c.product_id)
        .where(run_product.c.run_id == held.run_id, run_product.c.chunk_number == held.number)
        .order_by(run_product.c.product_id)
    ).scalars()
    if product_ids != list(expected):
        raise OutcomeRefused(
            f"Chunk {held.number} of run {held.run_id} needs exactly one outcome for each of its "
            "products; take the chunk again and publish what it holds."
        )


def _has_open_chunk(run_id: int) -> sa.Exists:
    return sa.exists().where(chunk.c.run_id == run_id, chunk.c.state.in_(("ready", "claimed")))
