"""Sees to it that somebody works on a run while it is followed."""

import os
import signal
import subprocess
import time
from types import TracebackType
from typing import Self

from mernet.cli.shared.output import note
from mernet.self_command import self_command
from mernet.worker.broker import workers_answer
from mernet.worker.errors import BrokerError, WorkerError
from mernet.worker.settings import settings

LOOK_SECONDS = 10
"""Time between two looks for a worker, where none was started here."""

STOP_SECONDS = 60
"""How long a worker may take to finish its chunks before it is killed."""


class Crew:
    """A worker of this machine's, started where no worker answers, and stopped with the block.

    With servers of the user's own, or where `hire` is False, nothing is started: the user is told.
    """

    def __init__(self, hire: bool) -> None:
        self._hire = hire and settings().broker_url is None
        self._process: subprocess.Popen[bytes] | None = None
        self._next_look = 0.0
        self._log = settings().data_dir / "logs" / "worker.log"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is None:
            return
        if kind is KeyboardInterrupt:
            note("The worker finishes the chunks at hand; Ctrl-C again ends it at once.")
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def look(self) -> None:
        """See whether somebody works; to be called often, it looks now and then.

        Raises `WorkerError` when the worker that was started here has ended.
        """
        if self._process is not None:
            self._look_after(self._process)
        elif time.monotonic() >= self._next_look:
            if not _somebody_answers():
                self._call_somebody()
            self._next_look = time.monotonic() + LOOK_SECONDS

    def _look_after(self, process: "subprocess.Popen[bytes]") -> None:
        code = process.poll()
        if code is not None:
            raise WorkerError(
                f"The worker ended with code {code}; read {self._log}. The run goes on with "
                "`mernet worker`."
            )

    def _call_somebody(self) -> None:
        if not self._hire:
            note("No worker answers; start one with `mernet worker`.")
            return
        self._log.parent.mkdir(parents=True, exist_ok=True)
        command = self_command("worker", "--name=hired", "--end-with-parent")
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C asks it to finish, rather than striking it too
                env=_without_metrics(),
            )
        note(f"No worker answers; one was started for this run, its log is {self._log}")


def _without_metrics() -> dict[str, str]:
    """This environment, but for the port: another worker of this machine's may have it already."""
    return {key: value for key, value in os.environ.items() if key != "MERNET_METRICS_PORT"}


def _somebody_answers() -> bool:
    try:
        return workers_answer()
    except BrokerError:
        return False  # the ledger shows how far the run is all the same
