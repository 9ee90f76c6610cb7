"""The scheduler that a worker contains: a process of its own, started again if it ends."""

import logging
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mernet.self_command import self_command

log = logging.getLogger(__name__)

RESTART_SECONDS = 1.0
STOP_SECONDS = 5.0


@contextmanager
def scheduler_process(log_level: str) -> Iterator[None]:
    """Keep a scheduler running until the block ends.

    The thread that starts it lives as long as this process: Linux tells a child that its parent
    has died when the thread that started it ends.
    """
    ended = threading.Event()
    watcher = threading.Thread(
        target=_keep_running, args=(log_level, ended), name="scheduler", daemon=True
    )
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _keep_running(log_level: str, ended: threading.Event) -> None:
    command = self_command("scheduler", "--end-with-parent", f"--log-level={log_level}")
    while not ended.is_set():
        # A session of its own: the terminal's Ctrl-C ends the worker, and that ends this.
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        while process.poll() is None and not ended.wait(RESTART_SECONDS):
            pass
        if ended.is_set():
            _stop(process)
        else:
            log.warning("the scheduler exited with code %s and is started again", process.poll())


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
