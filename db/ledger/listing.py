"""The listing of a run: taken by one worker, recorded in one transaction."""

from collections.abc import Iterable, Mapping
from typing import IO

import sqlalchemy as sa

from mernet.db import products as product_table
from mernet.db.engine import transaction
from mernet.db.ledger.leases import held_by_another
from mernet.db.ledger.members import enrol, never_sent
from mernet.db.ledger.runs import EXAMPLES_KEPT, LeftOutCount, Run, RunState, end_run, read_run
from mernet.db.rows import ProductRow
from mernet.db.tables import run
from mernet.db.text import storable


@transaction
def claim_listing(
    connection: sa.Connection, run_id: int, claimant: str, lease_seconds: float, max_attempts: int
) -> Run | None:
    """Begin to list a run, as `claimant` (a name that a repeated message keeps).

    None when there is nothing to do: the run is not to be listed (any more), another claimant holds
    it, or `max_attempts` takers have died over it, in which case the run has now failed.
    Raises `UnknownRun`.
    """
    found = read_run(connection, run_id, lock=True)
    this_run = run.c.run_id == run_id
    if found.state is not RunState.LISTING:
        return None
    if connection.scalar(sa.select(held_by_another(run, claimant, lease_seconds)).where(this_run)):
        return None
    if found.attempts >= max_attempts:
        end_run(
            connection,
            run_id,
            RunState.FAILED,
            f"Listing was begun {found.attempts} times and never came to an end; read the worker's "
            "log, then start a new run.",
        )
        return None
    connection.execute(
        sa.update(run)
        .where(this_run)
        .values(attempts=run.c.attempts + 1, claimed_by=claimant, last_heartbeat_at=sa.func.now())
    )
    return read_run(connection, run_id)


@transaction
def report_rows(connection: sa.Connection, run_id: int, claimant: str, rows_read: int) -> bool:
    """A sign of life while listing: index rows read so far.

    False when the listing should stop: the run was cancelled, or another claimant has it now.
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
    products: Iterable[ProductRow],
    left_out: Mapping[str, LeftOutCount],
) -> list[int]:
    """Write what a listing found; the numbers of the chunks to send.

    `products` is read to its end first, then written in one transaction: products, members, chunks
    of the run's size in listing order. A product that has an outcome already, also a failed one,
    gets no chunk unless the run does them again. The run is running afterwards, or finished when
    there is nothing to do. Repeated, or for a run that has ended, it changes nothing.
    Raises `ListingRefused`, naming the product, when one breaks a rule of its table; `UnknownRun`.
    """
    with product_table.spooled(products) as listing:
        return _record(engine, run_id, listing, left_out)


@transaction
def _record(
    connection: sa.Connection, run_id: int, listing: IO[str], left_out: Mapping[str, LeftOutCount]
) -> list[int]:
    if read_run(connection, run_id, lock=True).state is RunState.LISTING:
        product_table.merge(connection, listing)
        enrol(connection, run_id)
        connection.execute(
            sa.update(run).where(run.c.run_id == run_id).values(left_out=left_out_as_json(left_out))
        )
    return never_sent(connection, run_id)


def left_out_as_json(left_out: Mapping[str, LeftOutCount]) -> dict[str, dict[str, object]]:
    """The products left out, as the column `run.left_out` keeps them."""
    return {
        reason: {
            "count": entry.count,
            "examples": [storable(name) for name in entry.examples[:EXAMPLES_KEPT]],
        }
        for reason, entry in left_out.items()
    }
