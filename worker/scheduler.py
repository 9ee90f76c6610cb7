"""The scheduler as a process of its own, and the check whether it runs."""

import fcntl
import time
from pathlib import Path

from celery.signals import after_task_publish, beat_init

from mernet.worker.app import app, schedule_intervals
from mernet.worker.errors import WorkerError
from mernet.worker.settings import Settings

GRACE_SECONDS = 30.0
"""Added to three missed intervals before the scheduler counts as stopped."""


def last_sent_file(config: Settings) -> Path:
    """Return the file whose time is that of the last message (or of the scheduler's start)."""
    return config.data_dir / "scheduler" / "last-sent"


def run_scheduler(config: Settings, log_level: str) -> None:
    """Send each periodic task when it is due, until the process is told to end.

    The time of each task's last message is stored in the data folder. A daily ingest is therefore
    due a day after the last one, even if the scheduler was restarted in between.

    Raises:
        WorkerError: If another scheduler uses the same data folder.
    """
    last_sent = last_sent_file(config)
    last_sent.parent.mkdir(parents=True, exist_ok=True)
    lock = last_sent.with_name("lock").open("w")  # held until the process ends
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise WorkerError(
            f"Another scheduler is already running with {last_sent.parent}; only one is needed."
        ) from error

    def touch(**_: object) -> None:
        last_sent.touch()

    for signal in (beat_init, after_task_publish):
        signal.connect(touch, weak=False)
    app.Beat(schedule=str(last_sent.with_name("schedule")), loglevel=log_level, quiet=True).run()


def why_scheduler_is_unhealthy(config: Settings) -> str | None:
    """Return what is wrong with the scheduler in a sentence, or None if it is healthy.

    It is healthy if it has sent a message within three times the shortest interval of its tasks and
    half a minute.
    """
    last_sent = last_sent_file(config)
    if not last_sent.is_file():
        return f"The scheduler has not run yet ({last_sent} does not exist); start it."
    allowed = 3 * min(schedule_intervals(config).values()) + GRACE_SECONDS
    age = time.time() - last_sent.stat().st_mtime
    if age <= allowed:
        return None
    return (
        f"The scheduler sent its last message {age:.0f} seconds ago, but at most {allowed:.0f} are "
        "allowed; check that it is running and that the broker answers."
    )
