"""The listing of a run: claimed by one worker, recorded in one transaction."""

from collections.abc import Iterable, Mapping, Sequence
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
    end_run,
    left_out_as_json,
    read_run,
)
from mernet.db.obstacles import ObstacleKind, holds_back, note_waiting
from mernet.db.products import ProductRow
from mernet.db.tables import run


@transaction
def claim_listing(
    connection: sa.Connection, run_id: int, claimant: str, lease_seconds: float, max_attempts: int
) -> Run | None:
    """Claim the listing of a run.

    Args:
        connection: The function's own transaction; callers pass the engine.
        run_id: The run to list.
        claimant: A name that nobody else has, also not another delivery of the same message.
        lease_seconds: Seconds without a heartbeat after which another claimant gets the listing.
        max_attempts: A run whose listing was started `max_attempts` times and never recorded
            fails. A message that is delivered again while the run is being listed starts nothing.

    Returns:
        None if there is nothing to do: the run is not being listed (any more), it waits (see
        `postpone_listing`), another claimant sent a heartbeat within the lease, or the run has now
        failed.

    Raises:
        UnknownRun: There is no such run.
    """
    found = read_run(connection, run_id, lock=True)
    this_run = run.c.run_id == run_id
    if found.state is not RunState.LISTING:
        return None
    if connection.scalar(
        sa.select(claimed_by_another(run, claimant, lease_seconds)).where(this_run)
    ):
        return None
    if holds_back(connection, run_id):
        return None
    is_repeated = connection.scalar(sa.select(run.c.claimed_by == claimant).where(this_run))
    if found.attempts >= max_attempts and not is_repeated:
        end_run(
            connection,
            run_id,
            RunState.FAILED,
            f"{found.attempts} workers ended or hung while they listed this run; read their logs, "
            "then start a new run.",
        )
        return None
    claim(connection, run, this_run, claimant)
    return read_run(connection, run_id)


@transaction
def postpone_listing(
    connection: sa.Connection, run_id: int, claimant: str, kind: ObstacleKind, subject: str
) -> bool:
    """Give a listing back that cannot be made now; the attempt does not count.

    It waits for the obstacle's next try, unless the obstacle is gone by now.

    Args:
        connection: The function's own transaction; callers pass the engine.
        run_id: The run that is listed.
        claimant: The name under which its listing was claimed.
        kind: What kind of thing it waits for.
        subject: Which one.

    Returns:
        False if the listing is not the claimant's any more; nothing is changed then.
    """
    given_back = _give_back(connection, run_id, claimant, counted=False)
    if given_back:
        note_waiting(connection, kind, subject, run_id, None)
    return given_back


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
    return _give_back(connection, run_id, claimant, counted=counted)


@transaction
def report_rows(connection: sa.Connection, run_id: int, claimant: str, rows_read: int) -> bool:
    """Send a heartbeat while listing, with the number of index rows read so far.

    Returns:
        False if the listing should stop: the run has ended, or another claimant has it now.
    """
    updated = connection.execute(
        sa.update(run)
        .where(run.c.run_id == run_id, run.c.state == "listing", run.c.claimed_by == claimant)
        .values(rows_read=rows_read, last_heartbeat_at=sa.func.now())
    )
    return updated.rowcount == 1


def record_listing(
    engine: sa.Engine,
    run_id: int,
    claimant: str,
    products: Iterable[ProductRow],
    left_out: Mapping[str, LeftOutCount],
    moved: Sequence[str] = (),
) -> bool:
    """Record what a listing found: products, members of the run, and chunks in listing order.

    A product that has an outcome already, also a failed one, gets no chunk unless the run
    reclassifies. The run is then running, or finished if it has no chunk.

    Args:
        engine: The ledger.
        run_id: The run that was listed.
        claimant: The name under which the listing was claimed.
        products: What the listing found; read to its end before the transaction begins.
        left_out: How many products were left out, by reason.
        moved: Ids of own images whose files are gone from where the product table has them.

    Returns:
        False if nothing was written: the listing is not the claimant's any more, it was recorded
        before, or the run has ended.

    Raises:
        ListingRefused: A product breaks a rule of the product table; the message names it.
        UnknownRun: There is no such run.
    """
    with spool(products) as listing:
        return _record_file(engine, run_id, claimant, listing, left_out, moved)


@transaction
def fail_listing(connection: sa.Connection, run_id: int, claimant: str, error: str) -> bool:
    """End a run as failed because it could not be listed, with a sentence that says why.

    Returns:
        False if nothing was changed, as for `record_listing`.

    Raises:
        UnknownRun: There is no such run.
    """
    if _lock_listing(connection, run_id, claimant) is None:
        return False
    end_run(connection, run_id, RunState.FAILED, storable_text(error))
    return True


@transaction
def _record_file(
    connection: sa.Connection,
    run_id: int,
    claimant: str,
    listing: IO[str],
    left_out: Mapping[str, LeftOutCount],
    moved: Sequence[str],
) -> bool:
    found = _lock_listing(connection, run_id, claimant)
    if found is None:
        return False
    listed = list_file(connection, listing)
    merge_into_products(
        listed, Circumstances(run_id, found.publish_own, found.mirror is not None, moved)
    )
    enrol(listed, run_id)
    connection.execute(
        sa.update(run).where(run.c.run_id == run_id).values(left_out=left_out_as_json(left_out))
    )
    return True


def _lock_listing(connection: sa.Connection, run_id: int, claimant: str) -> Run | None:
    """Lock a run and return it, or None if `claimant` does not have its listing any more."""
    found = read_run(connection, run_id, lock=True)
    claimed_by = connection.scalar(sa.select(run.c.claimed_by).where(run.c.run_id == run_id))
    return found if found.state is RunState.LISTING and claimed_by == claimant else None


def _give_back(connection: sa.Connection, run_id: int, claimant: str, *, counted: bool) -> bool:
    """Make a claimed listing unsent; False if it is not claimed so."""
    updated = connection.execute(
        sa.update(run)
        .where(run.c.run_id == run_id, run.c.state == "listing", run.c.claimed_by == claimant)
        .values(
            attempts=run.c.attempts - (0 if counted else 1),
            claimed_by=None,
            last_heartbeat_at=None,
            sent_at=None,
        )
    )
    return updated.rowcount == 1
