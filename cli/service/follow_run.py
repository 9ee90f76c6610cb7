"""Follow a run live: a progress bar on a terminal, otherwise a line every few seconds."""

import threading
import time
from collections.abc import Iterable
from typing import Self

import sqlalchemy as sa
from rich.console import RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mernet.cli.service.run_progress import describe
from mernet.cli.service.temporary_worker import TemporaryWorker
from mernet.cli.shared.output import err, note
from mernet.db import ledger
from mernet.db.errors import ConnectionFailed
from mernet.errors import MernetError
from mernet.worker.broker import broker_state
from mernet.worker.errors import BrokerError

LEDGER_SECONDS = 0.5
"""Seconds between two readings of the ledger."""

BROKER_SECONDS = 5
"""Seconds between two queries to the broker."""

LINE_SECONDS = 10
"""Seconds between two lines if standard error is not a terminal."""


def follow_run(engine: sa.Engine, run_id: int, *, may_start_worker: bool) -> ledger.RunProgress:
    """Show the progress of a run until it has ended, and return its final progress.

    If anything ends the following before, a note says that the run continues.

    Args:
        engine: The ledger.
        run_id: An open run.
        may_start_worker: Start a worker for this time if none answers.

    Raises:
        WorkerError: The worker that was started for the run exited before the run ended.
        KeyboardInterrupt: Ctrl-C.
    """
    try:
        with TemporaryWorker(may_start=may_start_worker) as worker:
            return _show_progress(engine, run_id, worker)
    except (KeyboardInterrupt, MernetError):
        note(
            f"No longer following run {run_id}; it stays in the ledger and continues when a worker "
            f"runs. Follow it again: mernet status {run_id} --follow"
        )
        raise


def _show_progress(engine: sa.Engine, run_id: int, worker: TemporaryWorker) -> ledger.RunProgress:
    bar = BarWithFacts(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("elapsed,"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=err,
        disable=not err.is_terminal,
    )
    with bar, BrokerWatch() as broker:
        task = bar.add_task(f"Run {run_id}", total=None)
        last_line = time.monotonic()
        while True:
            now = _read_progress(engine, run_id)
            _update_bar(bar, task, now, broker.summary)
            if not now.run.state.is_open:
                return now
            worker.ensure()
            if not err.is_terminal and time.monotonic() - last_line >= LINE_SECONDS:
                note(f"{describe(now)}; {broker.summary}")
                last_line = time.monotonic()
            time.sleep(LEDGER_SECONDS)


def _read_progress(engine: sa.Engine, run_id: int) -> ledger.RunProgress:
    """Return the progress of a run; while the database does not answer, wait for it."""
    problem = ""
    while True:
        try:
            return ledger.progress(engine, run_id)
        except ConnectionFailed as error:
            if str(error) != problem:
                problem = str(error)
                note(f"{problem} Run {run_id} waits for it, and is followed as soon as it answers.")
            time.sleep(LEDGER_SECONDS)


class BarWithFacts(Progress):
    """A progress bar with a line of text below it."""

    facts = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield the bar, then the text."""
        yield from super().get_renderables()
        yield Text(self.facts)


class BrokerWatch:
    """Asks the broker every few seconds, in a thread, while the block lasts.

    The thread keeps a broker that hangs from delaying the caller. It also makes sure that Ctrl-C
    reaches the caller: raised inside the broker's client, the interrupt may be lost in a callback.
    """

    def __init__(self) -> None:
        self.summary = "the broker has not answered yet"
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        """Start to ask."""
        threading.Thread(target=self._run, name="broker watch", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop asking; an answer that is still awaited is ignored."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            self.summary = _summarise_broker()
            self._ended.wait(BROKER_SECONDS)


def _summarise_broker() -> str:
    try:
        state = broker_state()
    except BrokerError:
        return "the broker does not answer"
    return f"messages waiting: {sum(state.waiting.values())}, workers: {len(state.workers)}"


def _update_bar(bar: BarWithFacts, task: TaskID, now: ledger.RunProgress, broker: str) -> None:
    run = now.run
    bar.facts = f"  {_count_chunks(now)}; {broker}"
    if run.state is ledger.RunState.LISTING:
        bar.update(task, description=f"Run {run.run_id}: listing", completed=run.rows_read)
        return
    bar.update(
        task,
        description=f"Run {run.run_id}: {_name_activity(now)}",
        completed=now.classified + now.failed,
        total=now.listed - now.kept,
    )


def _count_chunks(now: ledger.RunProgress) -> str:
    claimed, ready = (now.chunks.get(state, 0) for state in ("claimed", "ready"))
    return (
        f"products failed: {now.failed}; chunks: {claimed} claimed, {ready} waiting; "
        f"{now.rate:.1f} products/s"
    )


def _name_activity(now: ledger.RunProgress) -> str:
    if now.run.paused:
        return "paused"
    if now.run.waits:
        return "waiting, see `mernet status`"
    return "classifying" if now.classified + now.failed else "loading the classifier"
