"""Leases: a worker has a listing or a chunk until its heartbeats stop for the lease's time."""

from datetime import timedelta

import sqlalchemy as sa

from mernet.db.engine import transaction
from mernet.db.tables import chunk, run


def claimed_by_another(
    table: sa.Table, claimant: str, lease_seconds: float
) -> sa.ColumnElement[bool]:
    """Return the condition that another claimant sent a heartbeat within the lease.

    Args:
        table: `run` (for its listing) or `chunk`.
        claimant: Who asks. A claim that its own claimant repeats is the same claim: the first
            answer may have been lost with the connection.
        lease_seconds: Seconds without a heartbeat after which anybody may claim the row.
    """
    oldest = sa.func.now() - timedelta(seconds=lease_seconds)
    return sa.and_(table.c.claimed_by != claimant, table.c.last_heartbeat_at > oldest)


def claim(
    connection: sa.Connection,
    table: sa.Table,
    row: sa.ColumnElement[bool],
    claimant: str,
    **changes: object,
) -> None:
    """Give a row of `table` to `claimant`, count the attempt, and make the other changes."""
    is_repeated = table.c.claimed_by.is_not_distinct_from(claimant)
    connection.execute(
        sa.update(table)
        .where(row)
        .values(
            attempts=table.c.attempts + sa.case((is_repeated, 0), else_=1),
            claimed_by=claimant,
            last_heartbeat_at=sa.func.now(),
            **changes,
        )
    )


@transaction
def forgive_attempt(connection: sa.Connection, run_id: int, number: int | None) -> None:
    """Take an attempt back that was counted although no work was its cause.

    For a claimant who lost its claim meanwhile: else giving back takes the attempt back.

    Args:
        connection: The function's own transaction; callers pass the engine.
        run_id: The run.
        number: The number of the chunk; None for the run's listing.
    """
    table, row = (
        (run, run.c.run_id == run_id)
        if number is None
        else (chunk, sa.and_(chunk.c.run_id == run_id, chunk.c.number == number))
    )
    connection.execute(
        sa.update(table)
        .where(row, table.c.attempts > 0)
        .where(table.c.state.in_(("listing", "running", "ready", "claimed")))
        .values(attempts=table.c.attempts - 1)
    )
