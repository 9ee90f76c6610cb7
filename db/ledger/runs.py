"""Runs: one pass over a list of products, from its request to its end."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from mernet.db import classifiers
from mernet.db.engine import first_line, transaction
from mernet.db.errors import RunClosed, RunRefused, UnknownRun
from mernet.db.tables import listing_state, run
from mernet.db.text import storable

EXAMPLES_KEPT = 20
"""How many names a run keeps for each reason that products were left out."""


class RunKind(StrEnum):
    """Where a run's products come from: a listing, the failures so far, what a listing has new."""

    FULL = "full"
    RETRY = "retry"
    NEW = "new"


class RunState(StrEnum):
    """Listing, then running, then one of three ends."""

    LISTING = "listing"
    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def is_open(self) -> bool:
        """Whether something is left to do."""
        return self in (RunState.LISTING, RunState.RUNNING)


@dataclass(frozen=True, slots=True)
class LeftOutCount:
    """How many products were left out for one reason, and the names of some of them."""

    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run over archives to be made: over all of their products, or over those that are new.

    `archives` are names, URLs or paths as `mernet.pds.archive.resolve` reads them; `products`
    is 'edr', 'rdr' or 'any'; `reclassify` also classifies what the classifier has an outcome of;
    `classifier` is a name, by default the current one's.
    """

    archives: tuple[str, ...]
    mirror: str | None = None
    products: str = "edr"
    chunk_size: int = 32
    reclassify: bool = False
    classifier: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A run as the ledger has it; `classifier` is the sha256 of the one it uses throughout.

    While an open run is `paused`, none of its chunks is begun.
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

    @property
    def condition(self) -> str:
        """The state as people see it: 'paused' in place of an open run's state."""
        return "paused" if self.paused and self.state.is_open else str(self.state)


RUN_COLUMNS = tuple(run.c[name] for name in Run.__dataclass_fields__)


def create_run(engine: sa.Engine, new: NewRun) -> Run:
    """A full run under the classifier asked for, waiting to be listed.

    Raises `UnknownClassifier` when there is none of that name or none is current, `RunRefused` for
    a value that no run can have.
    """
    with engine.begin() as connection:
        return insert_run(connection, kind=RunKind.FULL, state=RunState.LISTING, **asdict(new))


@transaction
def get_run(connection: sa.Connection, run_id: int | None = None) -> Run:
    """The run of this number, or the latest; raises `UnknownRun`."""
    return read_run(connection, run_id)


@transaction
def list_runs(connection: sa.Connection, limit: int = 100) -> list[Run]:
    """The latest runs, newest first."""
    rows = connection.execute(sa.select(*RUN_COLUMNS).order_by(run.c.run_id.desc()).limit(limit))
    return [to_run(row) for row in rows]


@transaction
def cancel_run(connection: sa.Connection, run_id: int) -> Run:
    """End an open run: nothing of it is taken or published from now on.

    Raises `RunClosed` when the run has ended otherwise, `UnknownRun` when there is none.
    """
    found = read_run(connection, run_id, lock=True)
    if found.state is RunState.CANCELLED:
        return found
    if not found.state.is_open:
        raise RunClosed(f"Run {run_id} is {found.state} already; there is nothing to cancel.")
    return end_run(connection, run_id, RunState.CANCELLED)


@transaction
def pause_run(connection: sa.Connection, run_id: int) -> Run:
    """Let no more chunks of an open run be begun; those that are taken finish and are published.

    Pausing again changes nothing. A run that is being listed is listed to its end first. Raises
    `RunClosed` when the run has ended, `UnknownRun` when there is none.
    """
    return _set_paused(connection, run_id, True)


@transaction
def resume_run(connection: sa.Connection, run_id: int) -> Run:
    """Let a paused run go on; the chunks to send are then those of `unsent`.

    A run that is not paused goes on as it does. Raises as `pause_run`.
    """
    return _set_paused(connection, run_id, False)


@transaction
def fail_run(connection: sa.Connection, run_id: int, error: str) -> Run:
    """End an open run that cannot go on, saying why in a sentence; an ended one stays as is."""
    found = read_run(connection, run_id, lock=True)
    if not found.state.is_open:
        return found
    return end_run(connection, run_id, RunState.FAILED, storable(error))


def read_run(connection: sa.Connection, run_id: int | None, lock: bool = False) -> Run:
    """`get_run` inside an open transaction; with `lock`, nobody else changes the run meanwhile."""
    query = sa.select(*RUN_COLUMNS).order_by(run.c.run_id.desc()).limit(1)
    if run_id is not None:
        query = query.where(run.c.run_id == run_id)
    if lock:
        query = query.with_for_update(key_share=True)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise UnknownRun(
            "There is no run yet; start one with `mernet run full`."
            if run_id is None
            else f"There is no run {run_id}; `mernet run list` shows those there are."
        )
    return to_run(row)


def end_run(
    connection: sa.Connection, run_id: int, state: RunState, error: str | None = None
) -> Run:
    """Write the end of a run that the open transaction has locked.

    Unless it has finished, the listings known under its classifier are forgotten, so that
    `mernet run new` reads them again and takes up what the run leaves undone.
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
    return to_run(row)


def to_run(row: "sa.Row[Any]") -> Run:
    """A row of `RUN_COLUMNS` as a `Run`."""
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
            "left_out": left_out,
        }
    )


def _set_paused(connection: sa.Connection, run_id: int, paused: bool) -> Run:
    """With the run locked, as whoever takes a chunk has it: afterwards no chunk is being taken."""
    found = read_run(connection, run_id, lock=True)
    if not found.state.is_open:
        raise RunClosed(f"Run {run_id} is {found.state} already; start a new run.")
    connection.execute(sa.update(run).where(run.c.run_id == run_id).values(paused=paused))
    return read_run(connection, run_id)


def insert_run(connection: sa.Connection, **values: Any) -> Run:
    """A run of the given columns, `classifier` a name or None for the current one.

    Raises as `create_run` does.
    """
    chosen = classifiers.named_or_current(connection, values.pop("classifier", None))
    values |= {"classifier": chosen.sha256, "archives": list(values["archives"])}
    try:
        row = connection.execute(sa.insert(run).values(values).returning(*RUN_COLUMNS)).one()
    except sa.exc.IntegrityError as error:
        raise RunRefused(
            f"The run was refused ({first_line(error)}); name at least one archive, products "
            "'edr', 'rdr' or 'any', and a chunk size of at least 1."
        ) from error
    return to_run(row)
