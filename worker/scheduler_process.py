"""The scheduler that a worker contains: a process of its own, started again if it ends or hangs."""

import logging
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from mernet.db import ledger
from mernet.db.engine import connect
from mernet.db.errors import DbError
from mernet.self_command import self_command
from mernet.worker.scheduler import longest_silence
from mernet.worker.settings import Settings

log = logging.getLogger(__name__)

RESTART_SECONDS = 1.0
STOP_SECONDS = 5.0

CHECK_SECONDS = 15.0
"""Seconds between two looks at the time of the last sweep."""


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
        # A session of its own: the terminal's Ctrl-C ends the worker, and that ends this.
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        hangs = _watch(process, config, ended)
        if ended.is_set():
            _stop(process)
        elif hangs:
            process.kill()  # also if it was stopped, so that it never continues
            process.wait()
            log.warning("nobody sweeps the ledger: the scheduler hangs and is started again")
        else:
            log.warning("the scheduler exited with code %s and is started again", process.poll())


def _watch(process: "subprocess.Popen[bytes]", config: Settings, ended: threading.Event) -> bool:
    """Wait until a scheduler exits, hangs, or is not wanted any more; return whether it hangs."""
    started = checked = time.monotonic()
    while process.poll() is None and not ended.wait(RESTART_SECONDS):
        now = time.monotonic()
        if now - checked >= CHECK_SECONDS:
            if nobody_sweeps(config, now - started):
                return True
            checked = now
    return False


def nobody_sweeps(config: Settings, watched_seconds: float) -> bool:
    """Return whether the ledger has not been swept for too long, by the database's clock.

    Args:
        config: The settings.
        watched_seconds: How long the scheduler runs, which is not to be judged by what was before.
    """
    allowed = longest_silence(config)
    if watched_seconds <= allowed:
        return False
    try:
        engine = connect(config.database)
    except DbError:
        return False
    # No connection is kept: child processes of the worker would share it.
    try:
        with engine.connect() as connection:
            age = ledger.seconds_since_start(connection, ledger.SWEEP_LOCK)
    except SQLAlchemyError:
        return False
    finally:
        engine.dispose()
    return age is None or age > allowed


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
