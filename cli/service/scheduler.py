"""`mernet scheduler`: the process that sends the periodic tasks."""

from typing import Annotated

import typer

from mernet.cli.shared.connections import start_embedded
from mernet.worker.broker import check_broker
from mernet.worker.scheduler import run_scheduler
from mernet.worker.settings import LogLevel, settings


def scheduler(
    log_level: Annotated[
        LogLevel | None, typer.Option(help="How much to log; by default MERNET_LOG_LEVEL.")
    ] = None,
) -> None:
    """Send the periodic tasks until Ctrl-C: the sweep, and the ingest with MERNET_INGEST_SECONDS.

    A service has exactly one scheduler. Start its workers with --no-scheduler. The time at which
    each task was last sent is stored in MERNET_DATA_DIR, so that a restart delays no task.
    """
    start_embedded()
    check_broker()
    run_scheduler(settings(), log_level or settings().log_level)
