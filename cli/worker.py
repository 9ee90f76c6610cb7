"""`mernet worker`: a Celery worker for runs, and the short-lived ones that `--follow` starts."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from cli.context import ledger
from cli.output import note
from worker.settings import settings

DEFAULT_PROCESSES = 2
"""One process fetches while another computes (design: two children a GPU)."""

STOP_SECONDS = 60
"""How long a local worker may take to finish its chunks before it is killed."""


def worker(
    processes: Annotated[
        int,
        typer.Option(min=1, help="Child processes; each loads the classifier."),
    ] = DEFAULT_PROCESSES,
    queues: Annotated[
        str, typer.Option(help="Queues to work on: listing, classify or both.")
    ] = "listing,classify",
    sweep: Annotated[
        bool, typer.Option(help="Also look, every MERNET_SWEEP_SECONDS, for work that is stuck.")
    ] = True,
    log_level: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = "INFO",
) -> None:
    """Work on runs until Ctrl-C; then finish the chunks at hand and end."""
    ledger().dispose()  # the database is there and up to date before the first message is taken
    from worker.app import app

    app.conf.worker_concurrency = processes
    arguments = ["worker", f"--queues={queues}", f"--loglevel={log_level}"]
    arguments += ["--without-gossip", "--without-mingle"]  # workers need not know each other
    if sweep:
        # The timetable is kept in memory: a sweep too many is harmless.
        arguments += ["--beat", "--scheduler=celery.beat:Scheduler"]
    app.worker_main(arguments)


@contextmanager
def local_worker(processes: int = DEFAULT_PROCESSES) -> Iterator[None]:
    """A worker of this machine's for as long as the block runs; its output goes to a log file."""
    folder = settings().data_dir / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "worker.log"
    command = [sys.executable, "-m", "cli.main", "worker", f"--processes={processes}"]
    with path.open("a") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C here asks it to finish, rather than striking it too
        )
    note(f"A worker with {processes} processes started for this run; its log is {path}")
    try:
        yield
    except KeyboardInterrupt:
        note("The worker finishes the chunks at hand; Ctrl-C again ends it at once.")
        raise
    finally:
        _stop(process)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
