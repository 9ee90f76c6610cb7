"""Runs: one pass over a list of products, from its request to its end."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from mernet.db import classifiers
from mernet.db.engine import first_line, storable_text, transaction, transaction_once
from mernet.db.errors import NoRuns, RunClosed, RunRefused, UnknownRun
from mernet.db.tables import chunk, listing_state, run

OPEN_STATES = ("ready", "claimed")
"""The states of a chunk that is not closed."""

EXAMPLES_KEPT = 20
"""How many names a run stores for each reason why products were left out."""


class RunKind(StrEnum):
    """Which products a run is over: all of a listing, failed ones, new ones of a listing."""

    FULL = "full"
    RETRY = "retry"
    NEW = "new"


class RunState(StrEnum):
    """The state of a run: listing, then running, then one of three final states."""

    LISTING = "listing"
    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def is_open(self) -> bool:
        """Whether the run has not ended."""
        return self in (RunState.LISTING, RunState.RUNNING)


@dataclass(frozen=True, slots=True)
class LeftOutCount:
    """Number of products left out for one reason, and the names of some of them."""

    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NewRun:
    """Request for a run over archives.

    Attributes:
        archives: Names, URLs or paths as `mernet.pds.archive.resolve` reads them.
        mirror: A place from which to read the archives instead of their own.
        products: 'edr', 'rdr' or 'any'.
        chunk_size: How many products a chunk holds.
        reclassify: Also classify products that have an outcome under the classifier.
        classifier: The classifier's name; None for the current one.
        publish_own: Whether the Atlas shows the images of folders among the archives.
        accept_short_listing: Whether a listing that ends before its label says is listed as far as
            it goes.
    """

    archives: tuple[str, ...]
    mirror: str | None = None
    products: str = "edr"
    chunk_size: int = 32
    reclassify: bool = False
    classifier: str | None = None
    publish_own: bool = False
    accept_short_listing: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """A run as the ledger has it.

    Attributes:
        run_id: The run's number.
        kind: Which products it is over.
        state: How far it is.
        classifier: sha256 of the classifier that it uses from its start to its end.
        archives: As in `NewRun`; empty for a retry.
        mirror: As in `NewRun`.
        products: As in `NewRun`.
        chunk_size: As in `NewRun`.
        reclassify: As in `NewRun`.
        paused: Whether none of its chunks may be claimed while it is open.
        left_out: Products left out of the listing, by reason.
        rows_read: Number of index rows read so far.
        attempts: How many times its listing was started.
        error: Why it failed; None unless it did.
        created_at: When it was requested.
        finished_at: When it ended; None while it is open.
        publish_own: As in `NewRun`.
        accept_short_listing: As in `NewRun`.
        unlisted: Those of `archives` that are still to be listed.
        listing_error: Sentences that name archives which cannot be listed and say why; None without
            any. Such a run ends as failed, after the products of the others.
        waits: Whether it is open, and all that is left of it waits for obstacles.
    """

    run_id: int
    kind: RunKind
    state: RunState
    classifier: str
    archives: tuple[str, ...]
    mirror: str | None
    products: str
    chunk_size: int
    reclassify: bool
    paused: bool
    left_out: Mapping[str, LeftOutCount]
    rows_read: int
    attempts: int
    error: str | None
    created_at: datetime
    finished_at: datetime | None
    publish_own: bool
    accept_short_listing: bool
    unlisted: tuple[str, ...]
    listing_error: str | None
    waits: bool

    @property
    def condition(self) -> str:
        """The state for display: 'paused' or 'waiting' if the run is open and paused or waits."""
        if self.paused and self.state.is_open:
            return "paused"
        return "waiting" if self.waits else str(self.state)


# Whether a run waits: it has met an obstacle, nobody works on it, and all chunks that are left need
# what is not there; or only workers on other hosts might do them, and none does. An obstacle has no
# sources if it is one of a worker's host.
RUN_WAITS = """
CASE
WHEN run.finished_at IS NOT NULL OR run.paused OR NOT EXISTS (
    SELECT FROM run_obstacle JOIN obstacle USING (kind, subject)
    WHERE run_obstacle.run_id = run.run_id AND cleared_at IS NULL
) THEN false
WHEN run.claimed_by IS NOT NULL AND run.last_heartbeat_at > now() - interval '1 minute' THEN false
WHEN EXISTS (
    SELECT FROM chunk
    WHERE chunk.run_id = run.run_id AND chunk.state = 'claimed'
      AND chunk.last_heartbeat_at > now() - interval '1 minute'
) THEN false
ELSE EXISTS (
    SELECT FROM run_obstacle JOIN obstacle USING (kind, subject)
    WHERE run_obstacle.run_id = run.run_id AND cleared_at IS NULL
      AND sources = '{}' AND NOT is_listing
) OR NOT EXISTS (
    SELECT FROM chunk
    WHERE chunk.run_id = run.run_id AND chunk.state IN ('ready', 'claimed') AND NOT EXISTS (
        SELECT FROM run_obstacle JOIN obstacle USING (kind, subject)
        WHERE run_obstacle.run_id = run.run_id AND cleared_at IS NULL
          AND run_obstacle.sources && chunk.sources
    )
)
END
"""

RUN_COLUMNS = (
    *(run.c[name] for name in Run.__dataclass_fields__ if name != "waits"),
    sa.literal_column(RUN_WAITS, sa.Boolean).label("waits"),
)


@transaction_once
def create_run(connection: sa.Connection, new: NewRun) -> Run:
    """Create a full run; it waits to be listed.

    Raises:
        UnknownClassifier: No classifier has this name, or none is current.
        RunRefused: No run can have these values.
    """
    return insert_run(
        connection,
        kind=RunKind.FULL,
        state=RunState.LISTING,
        unlisted=list(new.archives),
        **asdict(new),
    )


@transaction
def get_run(connection: sa.Connection, run_id: int | None = None) -> Run:
    """Return a run, the latest if no number is given.

    Raises:
        UnknownRun: There is no such run.
    """
    return read_run(connection, run_id)


@transaction
def list_runs(connection: sa.Connection, limit: int = 100) -> list[Run]:
    """Return the latest runs, newest first."""
    rows = connection.execute(sa.select(*RUN_COLUMNS).order_by(run.c.run_id.desc()).limit(limit))
    return [_to_run(row) for row in rows]


@transaction
def open_runs(connection: sa.Connection) -> list[Run]:
    """Return the runs that have not ended, oldest first."""
    query = sa.select(*RUN_COLUMNS).where(run.c.finished_at.is_(None)).order_by(run.c.run_id)
    return [_to_run(row) for row in connection.execute(query)]


@transaction
def cancel_run(connection: sa.Connection, run_id: int) -> Run:
    """End an open run: none of its chunks is claimed or published any more.

    Cancelling a cancelled run changes nothing.

    Raises:
        RunClosed: The run has finished or failed.
        UnknownRun: There is no such run.
    """
    found = read_run(connection, run_id, lock=True)
    if found.state is RunState.CANCELLED:
        return found
    if not found.state.is_open:
        raise RunClosed(f"Run {run_id} is already {found.state}; there is nothing to cancel.")
    return end_run(connection, run_id, RunState.CANCELLED)


@transaction
def pause_run(connection: sa.Connection, run_id: int) -> Run:
    """Keep chunks of an open run from being claimed; claimed chunks are still published.

    Pausing a paused run changes nothing. A run that waits to be listed is still listed.

    Raises:
        RunClosed: The run has ended.
        UnknownRun: There is no such run.
    """
    return _set_paused(connection, run_id, True)


@transaction
def resume_run(connection: sa.Connection, run_id: int) -> Run:
    """Let chunks of a paused run be claimed; those whose messages are to be sent are in `unsent`.

    Resuming a run that is not paused changes nothing.

    Raises:
        RunClosed: The run has ended.
        UnknownRun: There is no such run.
    """
    return _set_paused(connection, run_id, False)


def read_run(connection: sa.Connection, run_id: int | None, lock: bool = False) -> Run:
    """Return a run, the latest for None, inside an open transaction.

    With `lock`, no other transaction changes the run until this one ends.

    Raises:
        UnknownRun: There is no such run.
    """
    query = sa.select(*RUN_COLUMNS).order_by(run.c.run_id.desc()).limit(1)
    if run_id is not None:
        query = query.where(run.c.run_id == run_id)
    if lock:
        query = query.with_for_update(key_share=True)
    row = connection.execute(query).one_or_none()
    if row is None:
        if run_id is None:
            raise NoRuns("No run has been created yet.")
        raise UnknownRun(f"Run {run_id} does not exist.")
    return _to_run(row)


def insert_run(connection: sa.Connection, **values: Any) -> Run:
    """Insert a run with these columns and return it; raises as `create_run` does.

    Args:
        connection: An open transaction.
        **values: Columns of `run`, but `classifier` is a name, None for the current one.
    """
    chosen = classifiers.named_or_current(connection, values.pop("classifier", None))
    values |= {"classifier": chosen.sha256, "archives": list(values["archives"])}
    try:
        row = connection.execute(sa.insert(run).values(values).returning(*RUN_COLUMNS)).one()
    except sa.exc.IntegrityError as error:
        raise RunRefused(
            f"The run was refused ({first_line(error)}); give at least one archive, products "
            "'edr', 'rdr' or 'any', and a chunk size of at least 1."
        ) from error
    return _to_run(row)


def end_run(
    connection: sa.Connection, run_id: int, state: RunState, error: str | None = None
) -> Run:
    """End a run that the open transaction has locked.

    Unless it has finished, the known listings of its classifier are deleted, so that the next
    ingest reads them again and finds the products that this run did not classify.
    """
    row = connection.execute(
        sa.update(run)
        .where(run.c.run_id == run_id)
        .values(state=state, error=error, finished_at=sa.func.now())
        .returning(*RUN_COLUMNS)
    ).one()
    if state is not RunState.FINISHED:
        connection.execute(
            sa.delete(listing_state).where(listing_state.c.classifier == row.classifier)
        )
    return _to_run(row)


def end_if_done(connection: sa.Connection, run_id: int) -> None:
    """End a run that the open transaction has locked, if nothing of it is left to be done.

    It has finished if all of its archives could be listed; otherwise it has failed.
    """
    # Ordered as an index is, so that the planner does not look for one among all closed chunks.
    open_chunk = (
        sa.select(chunk.c.number)
        .where(chunk.c.run_id == run_id, chunk.c.state.in_(OPEN_STATES))
        .order_by(chunk.c.number)
        .limit(1)
        .scalar_subquery()
    )
    all_listed = run.c.listing_error.is_(None)
    connection.execute(
        sa.update(run)
        .where(run.c.run_id == run_id, open_chunk.is_(None))
        .where(sa.func.cardinality(run.c.unlisted) == 0)
        .values(
            state=sa.case((all_listed, "finished"), else_="failed"),
            error=run.c.listing_error,
            finished_at=sa.func.now(),
        )
    )


def add_left_out(
    counts: Mapping[str, LeftOutCount], more: Mapping[str, LeftOutCount]
) -> dict[str, LeftOutCount]:
    """Add up by reason what two listings left out."""
    total = dict(counts)
    for reason, entry in more.items():
        so_far = total.get(reason, LeftOutCount(0, ()))
        total[reason] = LeftOutCount(so_far.count + entry.count, so_far.examples + entry.examples)
    return total


def left_out_as_json(left_out: Mapping[str, LeftOutCount]) -> dict[str, dict[str, object]]:
    """Return the counts as the column `run.left_out` stores them."""
    return {
        reason: {
            "count": entry.count,
            "examples": [storable_text(name) for name in entry.examples[:EXAMPLES_KEPT]],
        }
        for reason, entry in left_out.items()
    }


def _to_run(row: "sa.Row[Any]") -> Run:
    """Return a row of `RUN_COLUMNS` as a `Run`."""
    values = row._asdict()
    left_out = {
        reason: LeftOutCount(entry["count"], tuple(entry["examples"]))
        for reason, entry in values["left_out"].items()
    }
    return Run(
        **values
        | {
            "kind": RunKind(values["kind"]),
            "state": RunState(values["state"]),
            "archives": tuple(values["archives"]),
            "unlisted": tuple(values["unlisted"]),
            "left_out": left_out,
        }
    )


def _set_paused(connection: sa.Connection, run_id: int, paused: bool) -> Run:
    """Set the flag with the run locked, so that no chunk is being claimed when this returns."""
    found = read_run(connection, run_id, lock=True)
    if not found.state.is_open:
        raise RunClosed(f"Run {run_id} is already {found.state}; start a new run.")
    connection.execute(sa.update(run).where(run.c.run_id == run_id).values(paused=paused))
    return read_run(connection, run_id)
