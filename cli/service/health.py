"""`mernet health`: whether a part of the service on this host does its work."""

import socket
from typing import Annotated

import typer

from mernet.cli.service.worker import node_name
from mernet.worker.errors import WorkerError
from mernet.worker.health import why_workers_are_unhealthy
from mernet.worker.scheduler import why_scheduler_is_unhealthy
from mernet.worker.settings import settings


def worker(
    name: Annotated[
        str | None,
        typer.Option(callback=node_name, help="Look at the worker of this --name only."),
    ] = None,
) -> None:
    """Exit with 0 where every worker of this host takes messages or is busy, else with 1.

    That a worker answers is not enough: it has to take a message that is sent to it alone.
    """
    _judge(why_workers_are_unhealthy(socket.gethostname(), name))


def beat() -> None:
    """Exit with 0 where `mernet beat` with this MERNET_DATA_DIR sent a message lately, else 1."""
    _judge(why_scheduler_is_unhealthy(settings()))


def _judge(fault: str | None) -> None:
    if fault:
        raise WorkerError(fault)
