"""What a run has transferred: bytes and repeated attempts, of its listing and of its chunks."""

from dataclasses import dataclass

import sqlalchemy as sa

from mernet.db.engine import transaction
from mernet.db.ledger.open_chunks import is_chunk
from mernet.db.tables import chunk, run


@transaction
def add_transfers(
    connection: sa.Connection,
    run_id: int,
    number: int | None,
    claimant: str,
    fetched_bytes: int,
    retries: int,
) -> None:
    """Add what an attempt has transferred for a chunk, or for a run's listing without a number.

    It is added once for each claimant, so a call whose answer was lost may be repeated.
    """
    table, row = (
        (run, run.c.run_id == run_id) if number is None else (chunk, is_chunk(run_id, number))
    )
    connection.execute(
        sa.update(table)
        .where(row, table.c.transfers_of.is_distinct_from(claimant))
        .values(
            transfers_of=claimant,
            fetched_bytes=table.c.fetched_bytes + fetched_bytes,
            retries=table.c.retries + retries,
        )
    )


@dataclass(frozen=True, slots=True)
class RunTransfers:
    """What a run has transferred so far: bytes, and repeated attempts to transfer a file."""

    fetched_bytes: int
    retries: int


@transaction
def run_transfers(connection: sa.Connection, run_id: int) -> RunTransfers:
    """Return what the listing and the chunks of a run have transferred so far."""
    row = connection.execute(
        sa.text(
            "SELECT run.fetched_bytes + coalesce(sum(chunk.fetched_bytes), 0)::bigint,"
            " run.retries + coalesce(sum(chunk.retries), 0)::bigint"
            " FROM run LEFT JOIN chunk USING (run_id) WHERE run.run_id = :run_id"
            " GROUP BY run.run_id"
        ),
        {"run_id": run_id},
    ).one()
    return RunTransfers(*row)
