"""The scheduler in a worker: started again if it ends or hangs, and never two of them."""

import os
import signal
import subprocess
import sys
from queue import Queue

import pytest

from mernet.db import ledger
from mernet.worker import scheduler, scheduler_process
from mernet.worker.settings import Settings

IDLE = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def config(story):
    return Settings(
        database_url=story.engine.url.render_as_string(hide_password=False), sweep_seconds=1
    )


@pytest.fixture
def started(monkeypatch):
    """The schedulers that were started, one after the other: processes that only sleep."""
    started = Queue()
    popen = subprocess.Popen

    def start(*args, **options):
        process = popen(*args, **options)
        started.put(process)
        return process

    monkeypatch.setattr(scheduler_process, "self_command", lambda *_: IDLE)
    monkeypatch.setattr(scheduler_process.subprocess, "Popen", start)
    monkeypatch.setattr(scheduler_process, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(scheduler_process, "RESTART_SECONDS", 0.05)
    monkeypatch.setattr(scheduler, "GRACE_SECONDS", -3.0)
    return started


def last_swept(story, seconds_ago):
    story.execute(
        "INSERT INTO service_lock (name, since) VALUES ('sweep', now() - make_interval(secs => :s))"
        " ON CONFLICT (name) DO UPDATE SET since = excluded.since",
        s=seconds_ago,
    )


def test_a_scheduler_that_is_stopped_is_replaced_and_never_goes_on(story, config, started):
    last_swept(story, 3600)
    with scheduler_process.scheduler_process(config, "INFO"):
        stopped = started.get(timeout=60)
        os.kill(stopped.pid, signal.SIGSTOP)
        replaced = started.get(timeout=60)
        assert stopped.poll() == -signal.SIGKILL
    assert replaced.poll() is not None


def test_a_scheduler_that_has_never_swept_is_replaced_too(story, config, started):
    with scheduler_process.scheduler_process(config, "INFO"):
        started.get(timeout=60)
        started.get(timeout=60)


def test_a_scheduler_is_left_alone_while_the_ledger_is_swept_or_it_has_just_begun(story, config):
    last_swept(story, 10)
    assert not scheduler_process.nobody_sweeps(config, watched_seconds=600)
    last_swept(story, 3600)
    assert scheduler_process.nobody_sweeps(config, watched_seconds=600)
    assert not scheduler_process.nobody_sweeps(config, watched_seconds=10)


def test_a_scheduler_is_left_alone_while_the_database_does_not_answer():
    nobody = Settings(database_url="postgresql://nobody@127.0.0.1:9/nothing")
    assert not scheduler_process.nobody_sweeps(nobody, watched_seconds=600)


def test_a_scheduler_that_exits_is_started_again(config, started):
    with scheduler_process.scheduler_process(config, "INFO"):
        started.get(timeout=60).kill()
        assert started.get(timeout=60).poll() is None


def test_a_scheduler_that_wakes_after_another_has_taken_over_releases_nothing(story):
    assert ledger.start_if_due(story.engine, "sweep", "stopped", 5, 20)
    story.execute(
        "UPDATE service_lock SET since = now() - interval '1 minute',"
        " heartbeat_at = now() - interval '1 minute'"
    )
    assert ledger.start_if_due(story.engine, "sweep", "another", 5, 20)
    ledger.release_lock(story.engine, "sweep", "stopped")
    assert story.rows("SELECT holder FROM service_lock") == [("another",)]
    assert not ledger.start_if_due(story.engine, "sweep", "stopped", 5, 20)
