"""`mernet worker`: a Celery worker for runs."""

import os
import re
import socket
import sys
import time
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer
from celery import platforms
from celery.platforms import EX_FAILURE
from celery.signals import worker_shutdown, worker_shutting_down

from mernet.cli.shared.broker import ledger_and_broker
from mernet.cli.shared.output import note
from mernet.self_command import self_command
from mernet.worker.app import CLASSIFY, LISTING, SWEEP, QueueName, app
from mernet.worker.broker import require_unused_name
from mernet.worker.metrics_server import serve_metrics
from mernet.worker.settings import LogLevel, settings

DEFAULT_PROCESSES = 2
"""One process fetches while another computes (design: two children a GPU)."""

RESTART_SECONDS = 5


def node_name(name: str | None) -> str | None:
    """The name, if it can be the part of a worker's name before the @."""
    if name is not None and not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise typer.BadParameter("use letters, digits, - and _ only.")
    return name


def worker(
    processes: Annotated[
        int, typer.Option(min=1, help="Child processes; each loads the classifier.")
    ] = DEFAULT_PROCESSES,
    queue: Annotated[
        list[QueueName] | None,
        typer.Option(
            help="Work on this queue only, may be repeated; by default on listing and classify, "
            "and with --beat always on sweep too."
        ),
    ] = None,
    beat: Annotated[
        bool,
        typer.Option(
            help="Also keep the timetable: the sweep and the ingest; --no-beat where `mernet beat` "
            "runs. Then a worker has to have --queue sweep."
        ),
    ] = True,
    name: Annotated[
        str,
        typer.Option(
            callback=node_name,
            help="Its name, to which @ and the host's are added; two workers of a host need two.",
        ),
    ] = "mernet",
    log_level: Annotated[
        LogLevel | None, typer.Option(help="How much to log; by default MERNET_LOG_LEVEL.")
    ] = None,
    end_with_parent: Annotated[
        bool, typer.Option("--end-with-parent", hidden=True, help="End when the caller does.")
    ] = False,
) -> None:
    """Work on runs until Ctrl-C; then finish the chunks at hand and end."""
    ledger_and_broker().dispose()  # both are there before the first message is taken
    config = settings()
    # Celery warns root of pickle, which is never accepted here.
    warnings.simplefilter("ignore", platforms.SecurityWarning)
    if end_with_parent:
        platforms.set_pdeathsig("SIGTERM")
    require_unused_name(f"{name}@{socket.gethostname()}")
    app.conf.worker_concurrency = processes
    with serve_metrics(config.metrics_host, config.metrics_port):
        failed = _fails(arguments(queue or (), beat, name, log_level or config.log_level))
    if failed:
        _start_again()


def arguments(queues: Sequence[QueueName], beat: bool, name: str, log_level: str) -> list[str]:
    """Celery's own, for its command `worker`; without `queues` listing and classify are meant."""
    consumed = [*(queues or (LISTING, CLASSIFY))]
    words = ["worker", f"--hostname={name}@%h", f"--loglevel={log_level}"]
    words += ["--without-gossip", "--without-mingle"]  # workers need not know each other
    if beat:
        # The timetable is kept in memory: a sweep too many is harmless.
        words += ["--beat", "--scheduler=celery.beat:Scheduler"]
        consumed += [SWEEP]
    return [*words, f"--queues={','.join(dict.fromkeys(consumed))}"]


def _fails(words: list[str]) -> bool:
    """Work until asked to end, or until Celery fails: which of them it was.

    Its exit code alone does not tell: after Ctrl-C, too, it is that of a failure.
    """
    asked: list[str] = []
    codes: list[int | None] = []
    worker_shutting_down.connect(lambda sig, **_: asked.append(sig), weak=False)
    worker_shutdown.connect(lambda sender, **_: codes.append(sender.exitcode), weak=False)
    app.worker_main(words)
    return EX_FAILURE in codes and not asked


def _start_again() -> None:
    """Replace this process by a fresh one of the same command.

    Nobody asked Celery to end, but it failed. Seen with kombu 5.7 when Redis goes away and comes
    back: to acknowledge a message over the closed connection is an AttributeError, which ends a
    worker. The process keeps its number, so whoever watches over it sees no end.
    """
    note(f"The worker ended unasked; it starts again in {RESTART_SECONDS} seconds.")
    time.sleep(RESTART_SECONDS)
    command = self_command(*sys.argv[1:])
    os.execv(command[0], command)
