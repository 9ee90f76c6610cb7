"""`mernet health`: checks of the workers and the scheduler on this host."""

import socket
from typing import Annotated

import typer

from mernet.cli.service.worker import check_worker_name
from mernet.worker.errors import WorkerError
from mernet.worker.health import why_workers_are_unhealthy
from mernet.worker.scheduler import why_scheduler_is_unhealthy
from mernet.worker.settings import settings


def worker(
    name: Annotated[
        str | None,
        typer.Option(callback=check_worker_name, help="Check only the worker of this --name."),
    ] = None,
) -> None:
    """Exit with 0 if every worker of this host accepts messages or is busy, else with 1.

    An answer is not enough: the worker has to receive a message that is sent to it alone.
    """
    _fail_if(why_workers_are_unhealthy(socket.gethostname(), name))


def scheduler() -> None:
    """Exit with 0 if a scheduler of this MERNET_DATA_DIR swept the ledger recently, else with 1."""
    _fail_if(why_scheduler_is_unhealthy(settings()))


def _fail_if(fault: str | None) -> None:
    if fault:
        raise WorkerError(fault)
