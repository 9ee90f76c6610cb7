"""Splits a chunk that was started `max_attempts` times, down to the one bad product."""

from dataclasses import dataclass

import sqlalchemy as sa

from mernet.db.ledger.open_chunks import OpenChunk, is_chunk, settle_chunk
from mernet.db.products import chunk_products
from mernet.db.publish import Failed
from mernet.db.tables import chunk, run_product

WORKER_LOST = "worker lost"
INTERNAL_ERROR = "internal error"


@dataclass(frozen=True, slots=True)
class Split:
    """A chunk was started `max_attempts` times and is split; two messages are still to be sent."""

    run_id: int
    numbers: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Lost:
    """A chunk's only product was started `max_attempts` times; its failed outcome is published."""

    run_id: int
    product_id: str


def give_up(connection: sa.Connection, open_chunk: OpenChunk) -> Split | Lost:
    """Split a chunk in two; if it has one product only, publish a failed outcome of it."""
    products = chunk_products(connection, open_chunk.run_id, open_chunk.number)
    names = [product.product_id for product in products]
    if len(names) > 1:
        return _split(connection, open_chunk, names)
    settle_chunk(connection, open_chunk, [_failed_outcome(names[0], open_chunk)])
    return Lost(open_chunk.run_id, names[0])


def _failed_outcome(product_id: str, open_chunk: OpenChunk) -> Failed:
    """Return the error that the last worker reported, or else that workers were lost."""
    times = f"{open_chunk.attempts} times without a result while this was the chunk's only product"
    advice = "read the worker's log, then retry the failed products"
    if open_chunk.last_error is None:
        return Failed(product_id, WORKER_LOST, f"Its worker ended {times}; {advice}.")
    detail = f"It was tried {times}; {advice}. The last error: {open_chunk.last_error}"
    return Failed(product_id, INTERNAL_ERROR, detail)


def _split(connection: sa.Connection, open_chunk: OpenChunk, names: list[str]) -> Split:
    run_id = open_chunk.run_id
    last = connection.execute(
        sa.select(sa.func.max(chunk.c.number)).where(chunk.c.run_id == run_id)
    ).scalar_one()
    sources = connection.execute(
        sa.select(chunk.c.sources).where(is_chunk(run_id, open_chunk.number))
    ).scalar_one()
    numbers = (last + 1, last + 2)
    middle = names[len(names) // 2]
    member = run_product.c
    connection.execute(
        sa.insert(chunk),
        [{"run_id": run_id, "number": number, "sources": sources} for number in numbers],
    )
    connection.execute(
        sa.update(run_product)
        .where(member.run_id == run_id, member.chunk_number == open_chunk.number)
        .values(chunk_number=sa.case((member.product_id < middle, numbers[0]), else_=numbers[1]))
    )
    connection.execute(
        sa.update(chunk)
        .where(is_chunk(run_id, open_chunk.number))
        .values(state="split", closed_at=sa.func.now())
    )
    return Split(run_id, numbers)
