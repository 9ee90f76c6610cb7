"""The scheduler: sweeps the ledger and asks for the ingest, each when it is due.

What is due is decided by the database's clock, in the ledger. Any number of schedulers may run,
on any hosts: together they do each task once in its interval.
"""

import logging
import threading
import time
from pathlib import Path

import sqlalchemy as sa
from redis.exceptions import RedisError

from mernet.db import ledger
from mernet.db.engine import connect
from mernet.db.errors import DbError
from mernet.worker.broker import waiting_subjects
from mernet.worker.errors import WorkerError
from mernet.worker.process_name import process_name
from mernet.worker.sending import INGEST_SUBJECT, send_ingest
from mernet.worker.settings import Settings
from mernet.worker.sweep import resend_stalled

log = logging.getLogger(__name__)

SCHEDULED_INGEST = "scheduled ingest"

INGEST_RETRY_SECONDS = 300.0
"""Seconds from the start of a scheduled ingest that did not come to its end to the next one."""

GRACE_SECONDS = 30.0
"""Added to three missed intervals before the scheduler counts as stopped."""


def last_sweep_file(config: Settings) -> Path:
    """Return the file whose time is that of the scheduler's last round that succeeded."""
    return config.data_dir / "scheduler" / "last-sweep"


def last_round_file(config: Settings) -> Path:
    """Return the file whose time is that of the scheduler's last round, however it ended."""
    return config.data_dir / "scheduler" / "last-round"


def run_scheduler(config: Settings, ended: threading.Event) -> None:
    """Do the periodic tasks when they are due, until `ended` is set.

    If the database or the broker does not answer, the next round tries again.
    """
    last_sweep, last_round = last_sweep_file(config), last_round_file(config)
    last_sweep.parent.mkdir(parents=True, exist_ok=True)
    holder = process_name("scheduler")
    engine: sa.Engine | None = None
    while not ended.is_set():
        try:
            engine = engine or connect(config.database)
            _do_what_is_due(engine, config, holder)
            last_sweep.touch()
        except (DbError, WorkerError, sa.exc.SQLAlchemyError, RedisError) as error:
            log.warning("the scheduler tries again: %s", error)
        last_round.touch()
        ended.wait(config.sweep_seconds)


def _do_what_is_due(engine: sa.Engine, config: Settings, holder: str) -> None:
    if ledger.start_if_due(
        engine, ledger.SWEEP_LOCK, holder, config.sweep_seconds, config.lease_seconds
    ):
        try:
            resend_stalled(engine, config.lease_seconds)
        finally:
            ledger.release_lock(engine, ledger.SWEEP_LOCK, holder)
    if config.ingest_seconds is not None and _is_ingest_due(engine, config, config.ingest_seconds):
        send_ingest()


def _is_ingest_due(engine: sa.Engine, config: Settings, interval: float) -> bool:
    due = ledger.is_due(engine, SCHEDULED_INGEST, interval, config.lease_seconds)
    return due and INGEST_SUBJECT not in waiting_subjects()


def why_scheduler_is_unhealthy(config: Settings) -> str | None:
    """Return what is wrong with the scheduler in a sentence, or None if it is healthy.

    It is healthy if a round succeeded within three times its interval and half a minute.
    """
    last_sweep = last_sweep_file(config)
    if not last_sweep.is_file():
        return f"The scheduler has not run yet ({last_sweep} does not exist); start it."
    allowed = 3 * config.sweep_seconds + GRACE_SECONDS
    age = time.time() - last_sweep.stat().st_mtime
    if age <= allowed:
        return None
    return (
        f"The scheduler last succeeded {age:.0f} seconds ago, but at most {allowed:.0f} are "
        "allowed; check that it is running and that the database and the broker answer."
    )
