"""The timetable as a process of its own, which goes on where it was stopped."""

import fcntl
import time
from pathlib import Path

from celery.signals import after_task_publish, beat_init

from mernet.worker.app import app, schedule_intervals
from mernet.worker.errors import WorkerError
from mernet.worker.settings import Settings

GRACE_SECONDS = 30.0


def alive_file(config: Settings) -> Path:
    """Touched when the timetable begins, and with each message that it sends."""
    return config.data_dir / "beat" / "alive"


def run_scheduler(config: Settings, log_level: str) -> None:
    """Send what is due, until the process is asked to end.

    The time of each last message is kept in the data folder: a daily ingest is due after a day,
    also when the process was started again in between. Raises `WorkerError` where another process
    keeps the timetable in that folder.
    """
    alive = alive_file(config)
    alive.parent.mkdir(parents=True, exist_ok=True)
    lock = alive.with_name("lock").open("w")  # held until the process ends
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise WorkerError(
            f"Another `mernet beat` keeps the timetable in {alive.parent}; one is enough."
        ) from error

    def touch(**_: object) -> None:
        alive.touch()

    for signal in (beat_init, after_task_publish):
        signal.connect(touch, weak=False)
    app.Beat(schedule=str(alive.with_name("schedule")), loglevel=log_level, quiet=True).run()


def why_scheduler_is_unhealthy(config: Settings) -> str | None:
    """A sentence, or None where the timetable sent a message lately: three of its shortest
    intervals, and half a minute, may pass without one."""
    alive = alive_file(config)
    if not alive.is_file():
        return f"Nobody has kept the timetable yet ({alive} is missing); start `mernet beat`."
    allowed = 3 * min(schedule_intervals(config).values()) + GRACE_SECONDS
    silent = time.time() - alive.stat().st_mtime
    if silent <= allowed:
        return None
    return (
        f"The timetable was last kept {silent:.0f} seconds ago, and {allowed:.0f} are allowed; see "
        "that `mernet beat` runs and the broker answers."
    )
