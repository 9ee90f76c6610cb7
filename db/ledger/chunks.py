"""Chunks: the unit of work that a worker takes, and what happens when it never comes back."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from mernet.db.engine import transaction
from mernet.db.ledger.leases import held_by_another
from mernet.db.ledger.members import leave_what_others_did
from mernet.db.products import of_chunk
from mernet.db.publish import Failed, close_chunk, open_chunk, settle_chunk
from mernet.db.rows import ProductRow
from mernet.db.tables import chunk, run, run_product
from mernet.db.text import storable

WORKER_LOST = "worker lost"
INTERNAL_ERROR = "internal error"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Products to classify, sorted by name; `attempts` counts this one too."""

    run_id: int
    number: int
    classifier: str
    attempts: int
    products: tuple[ProductRow, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """The chunk was begun too often and became these chunks, still to be sent."""

    run_id: int
    numbers: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Lost:
    """The chunk's only product was begun too often; its failed outcome is published."""

    run_id: int
    product_id: str


@transaction
def claim_chunk(
    connection: sa.Connection,
    run_id: int,
    number: int,
    claimant: str,
    lease_seconds: float,
    max_attempts: int,
) -> Chunk | Split | Lost | None:
    """Claim a chunk for `claimant` (a name that a repeated message keeps, so it may claim again).

    None when there is nothing to do: no such chunk, it is closed, its run has ended or is paused,
    or another claimant sent a heartbeat within the lease. Nothing is left to do either when other
    runs came to all of its products first: then it is closed. A chunk that was begun `max_attempts`
    times and never closed is split in halves, down to the one product that is to blame.
    """
    held = open_chunk(connection, run_id, number)
    if held is None:
        return None
    if connection.scalar(
        sa.select(held_by_another(chunk, claimant, lease_seconds)).where(_this(run_id, number))
    ):
        return None
    if _wait_for_resume(connection, run_id, number):
        return None
    if held.attempts >= max_attempts:
        return _give_up(connection, held)
    products = _left_to_do(connection, held)
    if not products:
        close_chunk(connection, held)
        return None
    connection.execute(
        sa.update(chunk)
        .where(_this(run_id, number))
        .values(
            state="claimed",
            attempts=chunk.c.attempts + 1,
            claimed_by=claimant,
            last_heartbeat_at=sa.func.now(),
        )
    )
    return Chunk(run_id, number, held.classifier, held.attempts + 1, products)


@transaction
def heartbeat(connection: sa.Connection, run_id: int, number: int, claimant: str) -> bool:
    """A sign of life; False when the work should stop: run ended, or the chunk is another's."""
    is_running = sa.exists().where(run.c.run_id == run_id, run.c.state == "running")
    updated = connection.execute(
        sa.update(chunk)
        .where(_this(run_id, number), _claimed_by(claimant), is_running)
        .values(last_heartbeat_at=sa.func.now())
    )
    return updated.rowcount == 1


@transaction
def release(
    connection: sa.Connection,
    run_id: int,
    number: int,
    claimant: str,
    counted: bool,
    error: str | None = None,
) -> bool:
    """Give a chunk back, for the next sweep to send; False when it is not `claimant`'s any more.

    A worker that shuts down in order gives its attempt back too (`counted` false). After an
    unexpected error the attempt counts, or one bad product would be tried for ever; the `error` of
    the last one that counted is what the product's failed outcome will tell.
    """
    updated = connection.execute(
        sa.update(chunk)
        .where(_this(run_id, number), _claimed_by(claimant))
        .values(
            state="ready",
            attempts=chunk.c.attempts - (0 if counted else 1),
            claimed_by=None,
            last_heartbeat_at=None,
            sent_at=None,
            last_error=storable(error) if counted and error else chunk.c.last_error,
        )
    )
    return updated.rowcount == 1


def _this(run_id: int, number: int) -> sa.ColumnElement[bool]:
    return sa.and_(chunk.c.run_id == run_id, chunk.c.number == number)


def _claimed_by(claimant: str) -> sa.ColumnElement[bool]:
    return sa.and_(chunk.c.state == "claimed", chunk.c.claimed_by == claimant)


def _wait_for_resume(connection: sa.Connection, run_id: int, number: int) -> bool:
    """Whether the chunk's run is paused; then its message is used up, so it counts as unsent."""
    waiting = connection.execute(
        sa.update(chunk)
        .where(_this(run_id, number), run.c.run_id == chunk.c.run_id, run.c.paused)
        .values(sent_at=None)
    )
    return waiting.rowcount == 1


def _left_to_do(connection: sa.Connection, held: "sa.Row[Any]") -> tuple[ProductRow, ...]:
    """The chunk's products, less those that other runs came to before anyone began the chunk.

    Once begun, it keeps them all: whoever took it may still publish what it brought.
    """
    if held.attempts == 0:
        leave_what_others_did(connection, held.run_id, held.number)
    return of_chunk(connection, held.run_id, held.number)


def _give_up(connection: sa.Connection, held: "sa.Row[Any]") -> Split | Lost:
    products = [row.product_id for row in of_chunk(connection, held.run_id, held.number)]
    if len(products) > 1:
        return _split(connection, held, products)
    settle_chunk(connection, held, [_failure(products[0], held)])
    return Lost(held.run_id, products[0])


def _failure(product_id: str, held: "sa.Row[Any]") -> Failed:
    """Why the chunk's only product is given up: the error that was told, or else lost workers."""
    times = f"{held.attempts} times without a result while this was the only product in hand"
    advice = "read the worker's log, then use `mernet run retry`"
    if held.last_error is None:
        return Failed(product_id, WORKER_LOST, f"Its worker ended {times}; {advice}.")
    detail = f"It was tried {times}; {advice}. The last error: {held.last_error}"
    return Failed(product_id, INTERNAL_ERROR, detail)


def _split(connection: sa.Connection, held: "sa.Row[Any]", products: list[str]) -> Split:
    last = connection.execute(
        sa.select(sa.func.max(chunk.c.number)).where(chunk.c.run_id == held.run_id)
    ).scalar_one()
    numbers = (last + 1, last + 2)
    middle = products[len(products) // 2]
    member = run_product.c
    connection.execute(
        sa.insert(chunk), [{"run_id": held.run_id, "number": number} for number in numbers]
    )
    connection.execute(
        sa.update(run_product)
        .where(member.run_id == held.run_id, member.chunk_number == held.number)
        .values(chunk_number=sa.case((member.product_id < middle, numbers[0]), else_=numbers[1]))
    )
    connection.execute(
        sa.update(chunk)
        .where(_this(held.run_id, held.number))
        .values(state="split", closed_at=sa.func.now())
    )
    return Split(held.run_id, numbers)
