"""Open chunks: locked with their run, settled with the outcomes of their products, and closed."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from mernet.db.errors import OutcomeRefused
from mernet.db.ledger.runs import OPEN_STATES, end_if_done
from mernet.db.publish import Outcome, publish_outcomes
from mernet.db.tables import chunk, run, run_product


@dataclass(frozen=True, slots=True)
class OpenChunk:
    """An open chunk of a running run; the transaction that read it has locked both.

    Attributes:
        run_id: The chunk's run.
        number: The chunk's number in its run.
        classifier: sha256 of the run's classifier.
        attempts: How many times the chunk was started.
        last_error: The error of the last attempt that counted, None if it reported none.
        mirror: The run's mirror.
        claimed_by: Who has claimed it, None if nobody has.
    """

    run_id: int
    number: int
    classifier: str
    attempts: int
    last_error: str | None
    mirror: str | None
    claimed_by: str | None


def is_chunk(run_id: int, number: int) -> sa.ColumnElement[bool]:
    """Return the condition that a row of the table `chunk` is this chunk."""
    return sa.and_(chunk.c.run_id == run_id, chunk.c.number == number)


def lock_open_chunk(connection: sa.Connection, run_id: int, number: int) -> OpenChunk | None:
    """Lock a run and then its chunk until the transaction ends.

    Always in this order, so that there is no deadlock.

    Returns:
        The chunk, or None unless its run is running and the chunk is ready or claimed.
    """
    its_run = connection.execute(
        sa.select(run.c.classifier, run.c.mirror)
        .where(run.c.run_id == run_id, run.c.state == "running")
        .with_for_update(key_share=True)
    ).one_or_none()
    if its_run is None:
        return None
    row = connection.execute(
        sa.select(chunk.c.attempts, chunk.c.last_error, chunk.c.claimed_by)
        .where(is_chunk(run_id, number), chunk.c.state.in_(OPEN_STATES))
        .with_for_update(of=chunk, key_share=True)
    ).one_or_none()
    if row is None:
        return None
    return OpenChunk(
        run_id,
        number,
        its_run.classifier,
        row.attempts,
        row.last_error,
        its_run.mirror,
        row.claimed_by,
    )


def settle_chunk(
    connection: sa.Connection, open_chunk: OpenChunk, outcomes: Sequence[Outcome]
) -> None:
    """Publish the outcomes of a chunk and close it.

    Outcomes of products that left the chunk after it was claimed, because an archive lists them
    now, are not used.

    Raises:
        OutcomeRefused: There is not exactly one outcome for each product of the chunk.
    """
    outcomes = _of_its_products(connection, open_chunk, outcomes)
    publish_outcomes(
        connection,
        open_chunk.classifier,
        open_chunk.run_id,
        max(open_chunk.attempts, 1),
        outcomes,
    )
    close_chunk(connection, open_chunk)


def close_chunk(connection: sa.Connection, open_chunk: OpenChunk) -> None:
    """Close a chunk as done, and end its run if this was the last that was to be done."""
    connection.execute(
        sa.update(chunk)
        .where(is_chunk(open_chunk.run_id, open_chunk.number))
        .values(state="done", closed_at=sa.func.now())
    )
    end_if_done(connection, open_chunk.run_id)


def _of_its_products(
    connection: sa.Connection, open_chunk: OpenChunk, outcomes: Sequence[Outcome]
) -> list[Outcome]:
    """Return the outcomes of the chunk's products, without those that have left it."""
    member = run_product.c
    members = connection.scalars(
        sa.select(member.product_id).where(
            member.run_id == open_chunk.run_id, member.chunk_number == open_chunk.number
        )
    ).all()
    left = set(
        connection.scalars(
            sa.select(member.product_id).where(
                member.run_id == open_chunk.run_id,
                member.chunk_number.is_(None),
                member.product_id == sa.any_(sa.literal(_ids(outcomes), sa.ARRAY(sa.Text))),
            )
        )
    )
    its_own = [outcome for outcome in outcomes if outcome.product_id not in left]
    if sorted(_ids(its_own)) != sorted(members):
        raise OutcomeRefused(
            f"Chunk {open_chunk.number} of run {open_chunk.run_id} needs exactly one outcome for "
            "each of its products; claim the chunk again and publish the products it holds."
        )
    return its_own


def _ids(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.product_id for outcome in outcomes]
