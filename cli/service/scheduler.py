"""`mernet beat`: the timetable, where no worker keeps it."""

from typing import Annotated

import typer

from mernet.cli.shared.connections import start_embedded
from mernet.worker.broker import check_broker
from mernet.worker.scheduler import run_scheduler
from mernet.worker.settings import LogLevel, settings


def beat(
    log_level: Annotated[
        LogLevel | None, typer.Option(help="How much to log; by default MERNET_LOG_LEVEL.")
    ] = None,
) -> None:
    """Keep the timetable until Ctrl-C: the sweep, and the ingest with MERNET_INGEST_SECONDS.

    Exactly one may run for the whole service, and its workers have --no-beat. The time of each last
    message is kept in MERNET_DATA_DIR, so that a restart puts nothing off.
    """
    start_embedded()
    check_broker()
    run_scheduler(settings(), log_level or settings().log_level)
