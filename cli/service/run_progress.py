"""Following a run: a progress bar on a terminal, a line now and then elsewhere."""

import threading
import time
from collections.abc import Iterable
from datetime import timedelta
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

from mernet.cli.service.temporary_worker import Crew
from mernet.cli.shared.output import err, note
from mernet.db import ledger
from mernet.worker.broker import broker_state
from mernet.worker.errors import BrokerError

POLL_SECONDS = 0.5
LOOK_SECONDS = 5
"""Time between two looks at the broker."""

LINE_SECONDS = 10
"""Time between two lines where there is no terminal to draw a bar on."""


def follow(engine: sa.Engine, run_id: int, crew: Crew) -> ledger.RunProgress:
    """Show how far the run is until it has ended; its final state.

    Raises `WorkerError` when the worker that `crew` started ends before the run does.
    """
    bar = BarWithFacts(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("gone,"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=err,
        disable=not err.is_terminal,
    )
    with bar, BrokerWatch() as broker:
        task = bar.add_task(f"Run {run_id}", total=None)
        said = time.monotonic()
        while True:
            now = ledger.progress(engine, run_id)
            _draw(bar, task, now, broker.seen)
            if not now.run.state.is_open:
                return now
            crew.look()
            if not err.is_terminal and time.monotonic() - said >= LINE_SECONDS:
                note(f"{describe(now)}; {broker.seen}")
                said = time.monotonic()
            time.sleep(POLL_SECONDS)


class BarWithFacts(Progress):
    """A progress bar, and facts in words on the lines below it."""

    facts = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar, then the facts."""
        yield from super().get_renderables()
        yield Text(self.facts)


class BrokerWatch:
    """What goes on at the broker, looked at every few seconds while the block lasts.

    A thread of its own looks: a broker that hangs holds nothing up, and Ctrl-C reaches the caller
    for certain. Where Python is in the broker's client then, it may be lost in a callback.
    """

    def __init__(self) -> None:
        self.seen = "the broker has not answered yet"
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._run, name="broker watch", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            self.seen = _look_at_the_broker()
            self._ended.wait(LOOK_SECONDS)


def _look_at_the_broker() -> str:
    try:
        state = broker_state()
    except BrokerError:
        return "the broker does not answer"
    return f"messages waiting: {sum(state.waiting.values())}, workers: {len(state.workers)}"


def describe(now: ledger.RunProgress) -> str:
    """How far a run is, in a line."""
    run = now.run
    if run.state is ledger.RunState.LISTING:
        return f"Run {run.run_id} is listing: {run.rows_read:,} rows read"
    done = now.listed - now.waiting
    return (
        f"Run {run.run_id} is {run.condition}: {done:,} of {now.listed:,} products done "
        f"({now.classified:,} classified, {now.failed:,} failed, "
        f"{now.already:,} done by other runs, {now.already_failed:,} of them failed), "
        f"{now.rate:.1f} a second{_left(now)}"
    )


def _left(now: ledger.RunProgress) -> str:
    if now.run.paused:
        return f"; go on with `mernet run resume {now.run.run_id}`"
    if now.seconds_left is None or not now.run.state.is_open:
        return ""
    return f", about {timedelta(seconds=round(now.seconds_left))} left"


def _draw(bar: BarWithFacts, task: TaskID, now: ledger.RunProgress, broker: str) -> None:
    run = now.run
    bar.facts = f"  {_facts(now)}; {broker}"
    if run.state is ledger.RunState.LISTING:
        bar.update(task, description=f"Run {run.run_id}: listing", completed=run.rows_read)
        return
    done = now.classified + now.failed
    bar.update(
        task,
        description=f"Run {run.run_id}: {_doing(now)}",
        completed=done,
        total=now.listed - now.already,
    )


def _facts(now: ledger.RunProgress) -> str:
    at_hand, waiting = (now.chunks.get(state, 0) for state in ("claimed", "ready"))
    return f"{now.failed} failed; chunks: {at_hand} at hand, {waiting} waiting; {now.rate:.1f}/s"


def _doing(now: ledger.RunProgress) -> str:
    if now.run.paused:
        return "paused"
    return "classifying" if now.classified + now.failed else "loading the classifier"
