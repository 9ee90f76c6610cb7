"""A worker process that runs as long as a command follows a run."""

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

CHECK_SECONDS = 10
"""Time between two checks whether any worker answers, until one was started here."""

STOP_SECONDS = 60
"""Time that the worker has to finish its chunks before it is killed."""


class TemporaryWorker:
    """Starts a worker on this machine if none answers, and stops it at the end of the block.

    No worker is started with a broker of the user's own or if `may_start` is False; then a note
    says that none answers.
    """

    def __init__(self, may_start: bool) -> None:
        self._may_start = may_start and settings().broker_url is None
        self._process: subprocess.Popen[bytes] | None = None
        self._next_check = 0.0
        self._log = settings().data_dir / "logs" / "worker.log"

    def __enter__(self) -> Self:
        """Start nothing yet; `ensure` does."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the worker if it was started here; it finishes its chunks first."""
        if self._process is None:
            return
        if kind is KeyboardInterrupt:
            note("The worker finishes its chunks in progress; Ctrl-C again stops it at once.")
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def ensure(self) -> None:
        """Check that a worker runs, and start one if allowed; call this often, it checks rarely.

        Raises:
            WorkerError: The worker that was started here has exited.
        """
        if self._process is not None:
            self._check_process(self._process)
        elif time.monotonic() >= self._next_check:
            if not _any_worker_answers():
                self._start()
            self._next_check = time.monotonic() + CHECK_SECONDS

    def _check_process(self, process: "subprocess.Popen[bytes]") -> None:
        code = process.poll()
        if code is not None:
            raise WorkerError(
                f"The worker exited with code {code}; read {self._log}. `mernet worker` continues "
                "the run."
            )

    def _start(self) -> None:
        if not self._may_start:
            note("No worker answers; start one with `mernet worker`.")
            return
        self._log.parent.mkdir(parents=True, exist_ok=True)
        command = self_command("worker", "--name=temporary", "--end-with-parent")
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # the terminal's Ctrl-C must not reach it directly
                env=_without_metrics_port(),
            )
        note(f"No worker answered, so one was started for this run; its log is {self._log}")


def _without_metrics_port() -> dict[str, str]:
    """Return the environment without the metrics port, which another worker may use already."""
    return {key: value for key, value in os.environ.items() if key != "MERNET_METRICS_PORT"}


def _any_worker_answers() -> bool:
    try:
        return workers_answer()
    except BrokerError:
        return False  # progress is read from the ledger, so following the run does not need it
