"""The listing of a run: claimed by one worker, recorded as far as its archives can be listed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

import sqlalchemy as sa

from mernet.db.engine import storable_text, transaction
from mernet.db.ledger.leases import claim, claimed_by_another
from mernet.db.ledger.listed_table import list_file, spool
from mernet.db.ledger.merging import Circumstances, merge_into_products
from mernet.db.ledger.run_products import enrol
from mernet.db.ledger.runs import (
    LeftOutCount,
    Run,
    RunState,
    add_left_out,
    end_if_done,
    left_out_as_json,
    read_run,
)
from mernet.db.obstacles import ObstacleKind, let_listing_wait, listing_waits
from mernet.db.products import ProductRow
from mernet.db.tables import run


@dataclass(frozen=True, slots=True)
class NotListed:
    """What a worker that listed some archives of a run did not list.

    Attributes:
        archives: The archives that are still to be listed.
        error: Sentences that name archives which cannot be listed and say why; None without any.
        waits: What the listing of `archives` waits for, as kind and subject of obstacles: until the
            next try of the first. If it is nothing, or one of them is gone, it is due at once.
    """

    archives: tuple[str, ...] = ()
    error: str | None = None
    waits: tuple[tuple[ObstacleKind, str], ...] = ()


NOTHING_LEFT = NotListed()


@transaction
def claim_listing(
    connection: sa.Connection, run_id: int, claimant: str, lease_seconds: float, max_attempts: int
) -> Run | None:
    """Claim the listing of a run: of those of its archives that are still to be listed.

    Args:
        connection: The function's own transaction; callers pass the engine.
        run_id: The run to list.
        claimant: A name that nobody else has, also not another delivery of the same message.
        lease_seconds: Seconds without a heartbeat after which another claimant gets the listing.
        max_attempts: When a listing was started `max_attempts` times and nothing was recorded, the
            first archive is not tried again. A message that is delivered again while the run is
            being listed starts nothing.

    Returns:
        None if there is nothing to do: nothing is to be listed (any more), it waits (see
        `NotListed`), another claimant sent a heartbeat within the lease, or the first archive was
        given up now.

    Raises:
        UnknownRun: There is no such run.
    """
    found = read_run(connection, run_id, lock=True)
    this_run = run.c.run_id == run_id
    if not _is_to_be_listed(found):
        return None
    if connection.scalar(
        sa.select(claimed_by_another(run, claimant, lease_seconds)).where(this_run)
    ):
        return None
    if listing_waits(connection, run_id):
        return None
    is_repeated = connection.scalar(sa.select(run.c.claimed_by == claimant).where(this_run))
    if found.attempts >= max_attempts and not is_repeated:
        first, *others = found.unlisted
        what = "this run" if len(found.archives) == 1 else f"the archive {first}"
        error = (
            f"{found.attempts} workers ended, hung or had too little memory while they listed "
            f"{what}; read their logs, then start a new run."
        )
        _note_not_listed(connection, found, NotListed(tuple(others), error))
        end_if_done(connection, run_id)
        return None
    claim(connection, run, this_run, claimant)
    return read_run(connection, run_id)


@transaction
def release_listing(
    connection: sa.Connection, run_id: int, claimant: str, *, counted: bool
) -> bool:
    """Give a listing back after an attempt that failed or was interrupted; it is due at once.

    Args:
        connection: The function's own transaction; callers pass the engine.
        run_id: The run that is listed.
        claimant: The name under which its listing was claimed.
        counted: Whether the attempt counts.

    Returns:
        False if the listing is not the claimant's any more; nothing is changed then.
    """
    updated = connection.execute(
        sa.update(run)
        .where(run.c.run_id == run_id, _is_listed_by(claimant))
        .values(
            attempts=run.c.attempts - (0 if counted else 1),
            claimed_by=None,
            last_heartbeat_at=None,
            sent_at=None,
        )
    )
    return updated.rowcount == 1


@transaction
def report_rows(connection: sa.Connection, run_id: int, claimant: str, rows_read: int) -> bool:
    """Send a heartbeat while listing, with the number of index rows read by this worker so far.

    Returns:
        False if the listing should stop: the run has ended, or another claimant has it now.
    """
    shown = sa.case((run.c.state == "listing", rows_read), else_=run.c.rows_read)
    updated = connection.execute(
        sa.update(run)
        .where(run.c.run_id == run_id, _is_listed_by(claimant))
        .values(rows_read=shown, last_heartbeat_at=sa.func.now())
    )
    return updated.rowcount == 1


def record_listing(
    engine: sa.Engine,
    run_id: int,
    claimant: str,
    products: Iterable[ProductRow],
    left_out: Mapping[str, LeftOutCount],
    not_listed: NotListed = NOTHING_LEFT,
    rows_read: int = 0,
    moved: Sequence[str] = (),
) -> bool:
    """Record what a listing found: products, members of the run, and chunks in listing order.

    A product that has an outcome already, also a failed one, gets no chunk unless the run
    reclassifies. The run is then running, or has ended if nothing is left to be done.

    Args:
        engine: The ledger.
        run_id: The run that was listed.
        claimant: The name under which the listing was claimed.
        products: What the listing found; read to its end before the transaction begins.
        left_out: How many products were left out, by reason.
        not_listed: Archives of the run that were not listed, if there are any.
        rows_read: How many index rows were read; added up for archives that are listed later.
        moved: Ids of own images whose files are gone from where the product table has them.

    Returns:
        False if nothing was written: the listing is not the claimant's any more, it was recorded
        before, or the run has ended.

    Raises:
        ListingRefused: A product breaks a rule of the product table; the message names it.
        UnknownRun: There is no such run.
    """
    with spool(products) as listing:
        return _record_file(
            engine, run_id, claimant, listing, left_out, not_listed, rows_read, moved
        )


@transaction
def record_not_listed(
    connection: sa.Connection, run_id: int, claimant: str, not_listed: NotListed
) -> bool:
    """Record that no archive could be listed this time; the attempt does not count.

    The run continues with what was listed before and what is to be listed later. If nothing is, it
    ends as failed.

    Returns:
        False if nothing was changed, as for `record_listing`.

    Raises:
        UnknownRun: There is no such run.
    """
    found = _lock_listing(connection, run_id, claimant)
    if found is None:
        return False
    _note_not_listed(connection, found, not_listed)
    end_if_done(connection, run_id)
    return True


@transaction
def _record_file(
    connection: sa.Connection,
    run_id: int,
    claimant: str,
    listing: IO[str],
    left_out: Mapping[str, LeftOutCount],
    not_listed: NotListed,
    rows_read: int,
    moved: Sequence[str],
) -> bool:
    found = _lock_listing(connection, run_id, claimant)
    if found is None:
        return False
    _note_not_listed(connection, found, not_listed)
    earlier_rows = 0 if found.state is RunState.LISTING else found.rows_read
    connection.execute(
        sa.update(run)
        .where(run.c.run_id == run_id)
        .values(
            left_out=left_out_as_json(add_left_out(found.left_out, left_out)),
            rows_read=earlier_rows + rows_read if rows_read else run.c.rows_read,
        )
    )
    listed = list_file(connection, listing)
    merge_into_products(
        listed, Circumstances(run_id, found.publish_own, found.mirror is not None, moved)
    )
    enrol(listed, run_id)
    return True


def _note_not_listed(connection: sa.Connection, found: Run, not_listed: NotListed) -> None:
    """Give a listing back with what is still to be listed, and name what cannot be."""
    let_listing_wait(connection, found.run_id, not_listed.waits)
    errors = filter(None, (found.listing_error, not_listed.error))
    connection.execute(
        sa.update(run)
        .where(run.c.run_id == found.run_id)
        .values(
            unlisted=list(not_listed.archives),
            listing_error=storable_text(" ".join(errors)) or None,
            attempts=0,
            claimed_by=None,
            last_heartbeat_at=None,
            sent_at=None,
        )
    )


def _is_to_be_listed(found: Run) -> bool:
    return found.state.is_open and bool(found.unlisted)


def _is_listed_by(claimant: str) -> sa.ColumnElement[bool]:
    return sa.and_(
        run.c.finished_at.is_(None),
        sa.func.cardinality(run.c.unlisted) > 0,
        run.c.claimed_by == claimant,
    )


def _lock_listing(connection: sa.Connection, run_id: int, claimant: str) -> Run | None:
    """Lock a run and return it, or None if `claimant` does not have its listing any more."""
    found = read_run(connection, run_id, lock=True)
    claimed_by = connection.scalar(sa.select(run.c.claimed_by).where(run.c.run_id == run_id))
    return found if _is_to_be_listed(found) and claimed_by == claimant else None
