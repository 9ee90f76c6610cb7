"""`mernet flower`: Flower, the web page of Celery's workers and tasks, for this application."""

import errno
import os
import socket
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import click
import typer

from mernet.cli.shared.connections import start_embedded
from mernet.printable import printable
from mernet.worker.app import app
from mernet.worker.broker import check_broker
from mernet.worker.settings import read_secret

TASK_COLUMNS = "name,args,state,result,received,runtime,worker,uuid"
ADDRESS_ERRORS = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES)


def flower(
    host: Annotated[
        str,
        typer.Option(envvar="FLOWER_ADDRESS", help="Address to listen on; 0.0.0.0 for all."),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(envvar="FLOWER_PORT", min=1, max=65535, help="Port to listen on.")
    ] = 5555,
) -> None:
    """Serve Flower, a web page of the workers and their tasks, until Ctrl-C.

    Another address than this machine's own needs a password: FLOWER_BASIC_AUTH=name:password in the
    environment, or that line in the file FLOWER_BASIC_AUTH_FILE. Flower's other options are read
    from the environment too, as FLOWER_ and the name in capitals; with FLOWER_CERTFILE and
    FLOWER_KEYFILE it uses HTTPS.
    """
    logins = _read_logins()
    if logins and not _are_logins(logins):
        raise typer.BadParameter(
            "FLOWER_BASIC_AUTH is not a login; write name:password, or several separated by commas."
        )
    if not logins and not _is_loopback(host):
        raise typer.BadParameter(
            f"{host} can be reached from other machines, so set a password in the environment: "
            "FLOWER_BASIC_AUTH=name:password."
        )
    start_embedded()
    check_broker()
    if logins:
        os.environ["FLOWER_BASIC_AUTH"] = (
            logins  # Flower's option, which no list of processes shows
        )
    try:
        app.start(_flower_arguments(host, port))
    except click.exceptions.Abort:  # Ctrl-C before Flower listens
        sys.exit(130)
    except OSError as error:
        if error.errno not in ADDRESS_ERRORS:
            raise
        raise typer.BadParameter(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another --host or --port."
        ) from error


def _read_logins() -> str:
    """Return the logins in the environment or in the file that it names, empty if there are none.

    Raises:
        SettingsError: The file cannot be used.
    """
    file = os.environ.pop("FLOWER_BASIC_AUTH_FILE", "")
    return read_secret(Path(file)) if file else os.environ.get("FLOWER_BASIC_AUTH", "")


def _is_loopback(host: str) -> bool:
    """Return whether every address of `host` is this machine's own.

    Raises:
        typer.BadParameter: The host has no address.
    """
    try:
        every = "0.0.0.0"  # nosec B104: what Flower takes an empty address for
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host or every, None)}
    except OSError as error:
        raise typer.BadParameter(
            f"{host} is not an address of this machine ({printable(error)})."
        ) from error
    return all(ip_address(address).is_loopback for address in found)


def _are_logins(text: str) -> bool:
    """Return whether this is name:password, or several of them separated by commas."""
    logins = (login.partition(":") for login in text.split(","))
    return all(name and password for name, _, password in logins)


def _flower_arguments(host: str, port: int) -> list[str]:
    """Return the arguments of Celery's command `flower`; environment variables do the rest."""
    arguments = [f"--address={host}", f"--port={port}"]
    if "FLOWER_TASKS_COLUMNS" not in os.environ:
        arguments += [f"--tasks_columns={TASK_COLUMNS}"]
    if "FLOWER_CONF" not in os.environ:
        # By default Flower runs a file flowerconfig.py of the working folder.
        arguments += [f"--conf={os.devnull}"]
    return ["flower", *arguments]
