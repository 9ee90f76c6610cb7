"""The scheduler that a worker contains: a process of its own, started again if it ends or hangs."""

import logging
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mernet.self_command import self_command
from mernet.worker.scheduler import last_round_file
from mernet.worker.settings import Settings

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""Seconds between two looks at the scheduler."""

PAUSE_SECONDS = 1.0
"""Seconds between the end of one scheduler and the start of the next."""

STOP_SECONDS = 5.0
"""Seconds that the scheduler has to exit when it is not wanted any more."""

# Both are counted in looks, so that time in which this process itself did not run does not count.
LONGEST_STOP = 5.0
"""Seconds that the scheduler may be stopped (SIGSTOP)."""

LONGEST_ROUND = 600.0
"""Seconds that a round may take besides the pause before it.

It asks the database and the broker a few times, and each call may take up to three minutes if the
network drops packets without an error.
"""


@contextmanager
def scheduler_process(config: Settings, log_level: str) -> Iterator[None]:
    """Keep a scheduler running until the block ends.

    The thread that starts it lives as long as this process: Linux tells a child that its parent
    has died when the thread that started it ends.
    """
    ended = threading.Event()
    watcher = threading.Thread(
        target=_keep_running, args=(config, log_level, ended), name="scheduler", daemon=True
    )
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _keep_running(config: Settings, log_level: str, ended: threading.Event) -> None:
    command = self_command("scheduler", "--end-with-parent", f"--log-level={log_level}")
    while not ended.is_set():
        try:
            # A session of its own: the terminal's Ctrl-C ends the worker, and that ends this.
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        except (OSError, MemoryError) as error:  # no process or memory is left at this moment
            log.warning("the scheduler cannot be started (%s) and is tried again", error)
        else:
            _run_to_its_end(process, config, ended)
        ended.wait(PAUSE_SECONDS)


def _run_to_its_end(
    process: "subprocess.Popen[bytes]", config: Settings, ended: threading.Event
) -> None:
    """Watch a scheduler until it exits or is ended; say in the log why it is started again."""
    fault = _watch(process, config, ended)
    if ended.is_set():
        _stop(process)
    elif fault:
        process.kill()  # also if it was stopped, so that it never goes on
        process.wait()
        log.warning("the scheduler %s and is started again", fault)
    else:
        log.warning("the scheduler exited with code %s and is started again", process.poll())


def _watch(
    process: "subprocess.Popen[bytes]", config: Settings, ended: threading.Event
) -> str | None:
    """Wait until a scheduler exits, does nothing, or is not wanted any more.

    It is judged by itself, not by what the ledger says: a database or broker that does not answer,
    or that can only be read, is not its fault.

    Returns:
        Why it does nothing; None if it has exited or is not wanted any more.
    """
    stopped = silent = 0
    last_round = _time_of_last_round(config)
    while process.poll() is None and not ended.wait(LOOK_SECONDS):
        stopped = stopped + 1 if _is_stopped(process) else 0
        before, last_round = last_round, _time_of_last_round(config)
        silent = silent + 1 if last_round == before else 0
        if stopped * LOOK_SECONDS > LONGEST_STOP:
            return "was stopped"
        if silent * LOOK_SECONDS > config.sweep_seconds + LONGEST_ROUND:
            return "hangs"
    return None


def _is_stopped(process: "subprocess.Popen[bytes]") -> bool:
    options = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
    with suppress(ChildProcessError):
        return os.waitid(os.P_PID, process.pid, options) is not None
    return False


def _time_of_last_round(config: Settings) -> float | None:
    """Return when any scheduler of this data folder ended its last round, by the files' clock."""
    with suppress(OSError):
        return last_round_file(config).stat().st_mtime
    return None


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
