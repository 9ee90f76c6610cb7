"""`mernet worker`: a Celery worker that processes runs."""

import os
import re
import socket
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Annotated

import typer
from celery import platforms
from celery.signals import worker_shutdown, worker_shutting_down

from mernet.cli.shared.broker import ledger_and_broker
from mernet.cli.shared.output import note
from mernet.self_command import self_command
from mernet.worker.app import QueueName, app
from mernet.worker.broker import require_unused_name
from mernet.worker.metrics_server import serve_metrics
from mernet.worker.scheduler_process import scheduler_process
from mernet.worker.settings import LogLevel, settings

DEFAULT_PROCESSES = 2
"""With two, one process fetches images while the other computes."""

RESTART_SECONDS = 5


def check_worker_name(name: str | None) -> str | None:
    """Return the name if it can be the part before the @ of a Celery worker's name.

    Raises:
        typer.BadParameter: It has other characters than letters, digits, - and _.
    """
    if name is not None and not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise typer.BadParameter("use letters, digits, - and _ only.")
    return name


def worker(
    processes: Annotated[
        int, typer.Option(min=1, help="Number of child processes; each loads the classifier.")
    ] = DEFAULT_PROCESSES,
    queue: Annotated[
        list[QueueName] | None,
        typer.Option(
            help="Consume this queue only; may be repeated. By default listing and classify."
        ),
    ] = None,
    scheduler: Annotated[
        bool,
        typer.Option(
            help="Also do the periodic tasks: the sweep and the ingest. With --no-scheduler, "
            "another worker or `mernet scheduler` has to do them."
        ),
    ] = True,
    name: Annotated[
        str,
        typer.Option(
            callback=check_worker_name,
            help="Name of the worker, without its @host; each worker of a host needs its own.",
        ),
    ] = "mernet",
    log_level: Annotated[
        LogLevel | None, typer.Option(help="How much to log; by default MERNET_LOG_LEVEL.")
    ] = None,
    end_with_parent: Annotated[
        bool, typer.Option("--end-with-parent", hidden=True, help="Exit when the caller exits.")
    ] = False,
) -> None:
    """Process runs until Ctrl-C; then finish the chunks in progress and exit."""
    ledger_and_broker().dispose()  # both must answer before the first message is received
    config = settings()
    # Celery warns the user root of pickle, which this application never accepts.
    warnings.simplefilter("ignore", platforms.SecurityWarning)
    if end_with_parent:
        platforms.set_pdeathsig("SIGTERM")
    require_unused_name(f"{name}@{socket.gethostname()}")
    app.conf.worker_concurrency = processes
    level = log_level or config.log_level
    metrics = serve_metrics(
        config.metrics_host, config.metrics_port, config.metrics_cert_file, config.metrics_key_file
    )
    with metrics, scheduler_process(config, level) if scheduler else nullcontext():
        failed = _run_until_exit(celery_arguments(queue or (), name, level))
    if failed:
        _restart()


def celery_arguments(queues: Sequence[QueueName], name: str, log_level: str) -> list[str]:
    """Return the arguments of Celery's command `worker`; no `queues` mean listing and classify."""
    consumed = [*(queues or (QueueName.LISTING, QueueName.CLASSIFY))]
    arguments = ["worker", f"--hostname={name}@%h", f"--loglevel={log_level}"]
    arguments += ["--without-gossip", "--without-mingle"]  # workers need not know each other
    return [*arguments, f"--queues={','.join(dict.fromkeys(consumed))}"]


def _run_until_exit(arguments: list[str]) -> bool:
    """Run the Celery worker; return whether it failed, that is, exited without being asked to.

    Its exit code alone does not tell: after Ctrl-C it is that of a failure, too.
    """
    signals: list[str] = []
    codes: list[int | None] = []
    worker_shutting_down.connect(lambda sig, **_: signals.append(sig), weak=False)
    worker_shutdown.connect(lambda sender, **_: codes.append(sender.exitcode), weak=False)
    app.worker_main(arguments)
    return platforms.EX_FAILURE in codes and not signals


def _restart() -> None:
    """Replace this process by a new one that runs the same command.

    Seen with kombu 5.7 when Redis goes away and comes back: acknowledging a message over the closed
    connection raises an AttributeError, which ends the worker. The process keeps its number, so a
    service manager that watches it sees no exit.
    """
    note(f"Worker exited unexpectedly; restarting in {RESTART_SECONDS} seconds.")
    time.sleep(RESTART_SECONDS)
    command = self_command(*sys.argv[1:])
    os.execv(command[0], command)
