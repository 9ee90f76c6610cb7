"""`mernet scheduler`: the process that does the periodic tasks."""

import logging
import signal
import threading
from typing import Annotated

import typer
from celery import platforms

from mernet.cli.shared.connections import ledger, start_embedded
from mernet.worker import logs
from mernet.worker.scheduler import run_scheduler
from mernet.worker.settings import LogLevel, settings


def scheduler(
    log_level: Annotated[
        LogLevel | None, typer.Option(help="How much to log; by default MERNET_LOG_LEVEL.")
    ] = None,
    end_with_parent: Annotated[
        bool, typer.Option("--end-with-parent", hidden=True, help="Exit when the caller exits.")
    ] = False,
) -> None:
    """Do the periodic tasks until Ctrl-C: the sweep, and the ingest with MERNET_INGEST_SECONDS.

    `mernet worker` contains a scheduler, unless it is started with --no-scheduler. A service needs
    one; several do no harm, since the ledger decides what is due.
    """
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    if end_with_parent:
        platforms.set_pdeathsig("SIGKILL")
    else:
        ledger().dispose()
        start_embedded()
    logs.configure(getattr(logging, log_level or settings().log_level), settings().log_format)
    run_scheduler(settings(), ended)
