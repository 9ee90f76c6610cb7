"""Chunks: the unit of work that a worker claims, works on and publishes or gives back."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from mernet.db.engine import storable_text, transaction
from mernet.db.errors import ReadElsewhere
from mernet.db.ledger.giving_up import Lost, Split, give_up
from mernet.db.ledger.leases import claim, claimed_by_another
from mernet.db.ledger.open_chunks import (
    OpenChunk,
    close_chunk,
    is_chunk,
    lock_open_chunk,
    settle_chunk,
)
from mernet.db.ledger.run_products import drop_products_with_outcome
from mernet.db.ledger.runs import RunState, end_run
from mernet.db.obstacles import ObstacleKind, holds_back, note_waiting
from mernet.db.products import FILE_COLUMNS, ProductRow, chunk_products
from mernet.db.publish import Outcome
from mernet.db.tables import chunk, run
from mernet.printable import printable

UNCLAIMED = {"state": "ready", "claimed_by": None, "last_heartbeat_at": None, "sent_at": None}
"""A chunk that nobody has, and for which no message is on its way."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A claimed chunk.

    Attributes:
        run_id: The chunk's run.
        number: The chunk's number in its run.
        classifier: sha256 of the classifier to use.
        attempts: How many times the chunk was started, this time included.
        products: The products to classify, sorted by name.
        mirror: A place from which to read the archives instead of their own, None without one.
    """

    run_id: int
    number: int
    classifier: str
    attempts: int
    products: tuple[ProductRow, ...]
    mirror: str | None = None


@transaction
def claim_chunk(
    connection: sa.Connection,
    run_id: int,
    number: int,
    claimant: str,
    lease_seconds: float,
    max_attempts: int,
) -> Chunk | Split | Lost | None:
    """Claim a chunk, or give it up if it was started `max_attempts` times.

    Args:
        connection: The function's own transaction; callers pass the engine.
        run_id: The chunk's run.
        number: The chunk's number in its run.
        claimant: A name that nobody else has, also not another delivery of the same message.
        lease_seconds: Seconds without a heartbeat after which another claimant gets the chunk.
        max_attempts: A chunk started `max_attempts` times and never closed is split in two, down to
            the one product that causes the losses. A message that is delivered again while the
            chunk is worked on starts nothing.

    Returns:
        None if there is nothing to do: there is no such chunk, it is closed, its run has ended or
        is paused, it waits (see `postpone`), another claimant sent a heartbeat within the lease, or
        other runs have classified all of its products (the chunk is then closed).
    """
    open_chunk = lock_open_chunk(connection, run_id, number)
    if open_chunk is None or _another_has_it(connection, open_chunk, claimant, lease_seconds):
        return None
    if _give_back_if_not_wanted_yet(connection, open_chunk, claimant):
        return None
    products = _products_to_classify(connection, open_chunk)
    if not products:
        close_chunk(connection, open_chunk)
        return None
    attempts = open_chunk.attempts
    if open_chunk.claimed_by == claimant:  # the answer to its first claim was lost
        attempts -= 1
    if attempts >= max_attempts:
        return give_up(connection, open_chunk)
    claim(connection, chunk, is_chunk(run_id, number), claimant, state="claimed")
    return Chunk(run_id, number, open_chunk.classifier, attempts + 1, products, open_chunk.mirror)


@transaction
def heartbeat(connection: sa.Connection, run_id: int, number: int, claimant: str) -> bool:
    """Note that the claimant still works on its chunk.

    Returns:
        False if the work should stop: the run has ended, or the chunk was claimed by another.
    """
    is_running = sa.exists().where(run.c.run_id == run_id, run.c.state == "running")
    updated = connection.execute(
        sa.update(chunk)
        .where(is_chunk(run_id, number), _is_claimed_by(claimant), is_running)
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
    """Give a chunk back, for the next sweep to send.

    Args:
        connection: The function's own transaction; callers pass the engine.
        run_id: The chunk's run.
        number: The chunk's number in its run.
        claimant: The name under which it was claimed.
        counted: Whether the attempt counts. It does after an unexpected error, or one bad product
            would be tried for ever; it does not when a worker shuts down in order.
        error: The error of an attempt that counts; the last one becomes the detail of the product's
            failed outcome.

    Returns:
        False if the chunk is not the claimant's any more; nothing is changed then.
    """
    return _give_back(
        connection,
        run_id,
        number,
        claimant,
        attempts=chunk.c.attempts - (0 if counted else 1),
        last_error=storable_text(error) if counted and error else chunk.c.last_error,
    )


@transaction
def postpone(
    connection: sa.Connection,
    run_id: int,
    number: int,
    claimant: str,
    kind: ObstacleKind,
    subject: str,
    sources: Collection[str],
) -> bool:
    """Give a chunk back that cannot be worked on now; the attempt does not count.

    With the chunks of these archives, it waits for the obstacle's next try, unless the obstacle is
    gone by now, or the archives have moved.

    Args:
        connection: The function's own transaction; callers pass the engine.
        run_id: The chunk's run.
        number: The chunk's number in its run.
        claimant: The name under which it was claimed.
        kind: What kind of thing it waits for.
        subject: Which one.
        sources: URLs of the archives that cannot be read; none if only this worker cannot do it.

    Returns:
        False if the chunk is not the claimant's any more; nothing is changed then.
    """
    if not _give_back(connection, run_id, number, claimant, attempts=chunk.c.attempts - 1):
        return False
    needed = _sources_of(connection, run_id, number).intersection(sources)
    if needed or not sources:
        connection.execute(
            sa.update(chunk).where(is_chunk(run_id, number)).values(sources=_with(needed))
        )
        note_waiting(connection, kind, subject, run_id, needed)
    return True


@transaction
def publish_chunk(
    connection: sa.Connection,
    claimed: Chunk,
    claimant: str,
    outcomes: Sequence[Outcome],
) -> bool:
    """Publish the outcomes of a chunk, close it, and finish its run if it was the last one.

    Args:
        connection: The function's own transaction; callers pass the engine.
        claimed: The chunk as it was claimed: its products were read where they were then.
        claimant: The name under which it was claimed.
        outcomes: One for each of its products.

    Returns:
        False if nothing was written: the chunk is not the claimant's any more, it was closed or
        split before, or its run has ended.

    Raises:
        OutcomeRefused: There is not exactly one outcome for each product of the chunk, or the
            scores of a product are not 25 probabilities.
        ReadElsewhere: A product of the chunk, or the run's mirror, is at another place now; nothing
            was written. The chunk is still the claimant's, who is to release it.
    """
    open_chunk = lock_open_chunk(connection, claimed.run_id, claimed.number)
    if open_chunk is None or open_chunk.claimed_by != claimant:
        return False
    settle_chunk(connection, open_chunk, outcomes)
    _require_read_where_listed(connection, open_chunk, claimed)
    return True


@transaction
def fail_run(
    connection: sa.Connection, run_id: int, number: int, claimant: str, error: str
) -> bool:
    """End a run as failed because of what a chunk of it showed, such as a classifier that fails.

    Args:
        connection: The function's own transaction; callers pass the engine.
        run_id: The run.
        number: The chunk's number in its run.
        claimant: The name under which the chunk was claimed.
        error: A sentence that says why.

    Returns:
        False if nothing was changed: the chunk is not the claimant's any more, or its run has
        ended.
    """
    open_chunk = lock_open_chunk(connection, run_id, number)
    if open_chunk is None or open_chunk.claimed_by != claimant:
        return False
    end_run(connection, run_id, RunState.FAILED, storable_text(error))
    return True


def _require_read_where_listed(
    connection: sa.Connection, open_chunk: OpenChunk, claimed: Chunk
) -> None:
    """Check that the run would read the products of a chunk now where its claimant has read them.

    This comes after the outcomes are written: their locks keep out what other runs publish. If a
    run has published scores from a new place before, this sees the new place, too.

    Raises:
        ReadElsewhere: It would not.
    """
    if open_chunk.mirror != claimed.mirror:
        raise ReadElsewhere(
            f"The mirror was {printable(claimed.mirror)} and is {printable(open_chunk.mirror)} "
            "now; the products are to be read there."
        )
    read = {product.product_id: product for product in claimed.products}
    now = chunk_products(connection, claimed.run_id, claimed.number)
    changes = {each.product_id: _changes_of_file(read[each.product_id], each) for each in now}
    changed = [product_id for product_id, changes_of_it in changes.items() if changes_of_it]
    if changed:
        raise ReadElsewhere(
            f"{len(changed)} of {len(now)} products were listed otherwise while they were read, "
            f"and are to be read again; of {changed[0]}, {', '.join(changes[changed[0]])}."
        )


def _changes_of_file(read: ProductRow, now: ProductRow) -> list[str]:
    """Return what a listing says otherwise of a product's file since it was read."""
    values = ((name, getattr(read, name), getattr(now, name)) for name in FILE_COLUMNS)
    return [
        f"the {name} was {printable(before)} and is {printable(after)} now"
        for name, before, after in values
        if before != after
    ]


def _give_back(
    connection: sa.Connection, run_id: int, number: int, claimant: str, **changes: object
) -> bool:
    """Make a claimed chunk ready and unsent, with other changes; False if it is not claimed so."""
    updated = connection.execute(
        sa.update(chunk)
        .where(is_chunk(run_id, number), _is_claimed_by(claimant))
        .values(**UNCLAIMED | changes)
    )
    return updated.rowcount == 1


def _sources_of(connection: sa.Connection, run_id: int, number: int) -> set[str]:
    """Return where the products of a chunk are read now, which may have changed since its claim."""
    return {each.source or "" for each in chunk_products(connection, run_id, number)}


def _with(sources: Collection[str]) -> sa.ColumnElement[object]:
    """Return a chunk's sources and these; an archive may list a product since it was made."""
    more = sa.cast(sorted(sources), sa.ARRAY(sa.Text))
    own = chunk.c.sources
    return sa.case((own.op("@>")(more), own), else_=sa.func.array_cat(own, more))


def _is_claimed_by(claimant: str) -> sa.ColumnElement[bool]:
    return sa.and_(chunk.c.state == "claimed", chunk.c.claimed_by == claimant)


def _another_has_it(
    connection: sa.Connection, open_chunk: OpenChunk, claimant: str, lease_seconds: float
) -> bool:
    """Return whether another claimant has the chunk and sent a heartbeat within the lease."""
    this_chunk = is_chunk(open_chunk.run_id, open_chunk.number)
    another = sa.select(claimed_by_another(chunk, claimant, lease_seconds)).where(this_chunk)
    return bool(connection.scalar(another))


def _give_back_if_not_wanted_yet(
    connection: sa.Connection, open_chunk: OpenChunk, claimant: str
) -> bool:
    """Return whether the chunk waits or its run is paused.

    Its message is then used up, so it is unsent, and the claim of a worker that was lost is void;
    so is the claimant's own, of which it does not know, since the answer was lost.
    """
    run_id, number = open_chunk.run_id, open_chunk.number
    is_paused = connection.scalar(sa.select(run.c.paused).where(run.c.run_id == run_id))
    if not is_paused and not holds_back(connection, run_id, number):
        return False
    attempts = chunk.c.attempts - sa.case((chunk.c.claimed_by == claimant, 1), else_=0)
    connection.execute(
        sa.update(chunk).where(is_chunk(run_id, number)).values(attempts=attempts, **UNCLAIMED)
    )
    return True


def _products_to_classify(
    connection: sa.Connection, open_chunk: OpenChunk
) -> tuple[ProductRow, ...]:
    """Return the chunk's products, without those that other runs classified before it was started.

    Once started, it keeps them all: whoever claimed it may still publish all of their outcomes.
    """
    if open_chunk.attempts == 0:
        drop_products_with_outcome(connection, open_chunk.run_id, open_chunk.number)
    return chunk_products(connection, open_chunk.run_id, open_chunk.number)
