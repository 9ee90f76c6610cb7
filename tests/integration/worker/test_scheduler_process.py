"""The scheduler in a worker: started again if it ends or hangs, and never two of them."""

import errno
import os
import signal
import subprocess
import sys
from queue import Queue
from threading import Event

import pytest

from mernet.db import ledger
from mernet.worker import scheduler, scheduler_process
from mernet.worker.settings import Settings

IDLE = "import time; time.sleep(600)"
DOES_ROUNDS = """
import pathlib, sys, time
last_round = pathlib.Path(sys.argv[1])
last_round.parent.mkdir(parents=True, exist_ok=True)
for _ in range(300):
    last_round.touch()
    time.sleep(0.01)
"""


class OneRound(Event):
    """Ends the scheduler when it begins to wait for its next round."""

    def wait(self, timeout=None):
        self.set()
        return True


@pytest.fixture
def config(tmp_path):
    """Of a service whose database does not answer."""
    nobody = "postgresql://nobody@127.0.0.1:9/nothing"
    return Settings(data_dir=tmp_path, database_url=nobody, sweep_seconds=0.1)


@pytest.fixture
def start_schedulers(config, monkeypatch):
    """Let schedulers be programs of the test's own; gives those that are started, in turn."""
    popen = subprocess.Popen

    def start_schedulers(program):
        started = Queue()

        def start(*args, **options):
            process = popen(*args, **options)
            started.put(process)
            return process

        command = [sys.executable, "-c", program, str(scheduler.last_round_file(config))]
        monkeypatch.setattr(scheduler_process, "self_command", lambda *_: command)
        monkeypatch.setattr(scheduler_process.subprocess, "Popen", start)
        return started

    monkeypatch.setattr(scheduler_process, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(scheduler_process, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(scheduler_process, "LONGEST_STOP", 0.25)
    return start_schedulers


@pytest.fixture
def rounds_are_short(monkeypatch):
    monkeypatch.setattr(scheduler_process, "LONGEST_ROUND", 1.0)


def test_a_scheduler_that_is_stopped_is_replaced_and_never_goes_on(config, start_schedulers):
    started = start_schedulers(IDLE)
    with scheduler_process.scheduler_process(config, "INFO"):
        stopped = started.get(timeout=60)
        os.kill(stopped.pid, signal.SIGSTOP)
        replaced = started.get(timeout=60)
        assert stopped.poll() == -signal.SIGKILL
    assert replaced.poll() is not None


def test_a_scheduler_that_does_no_more_rounds_is_replaced(
    config, start_schedulers, rounds_are_short, caplog
):
    started = start_schedulers(IDLE)
    with scheduler_process.scheduler_process(config, "INFO"):
        hanging = started.get(timeout=60)
        started.get(timeout=60)
        assert hanging.poll() == -signal.SIGKILL
    assert "hangs" in caplog.text


def test_a_scheduler_that_does_rounds_is_left_alone_however_they_end(
    config, start_schedulers, rounds_are_short
):
    started = start_schedulers(DOES_ROUNDS)
    with scheduler_process.scheduler_process(config, "INFO"):
        kept = started.get(timeout=60)
        started.get(timeout=60)
        assert kept.poll() == 0


def test_a_scheduler_is_left_alone_during_a_long_round(config, start_schedulers):
    """Servers that do not answer may keep it for minutes."""
    started = start_schedulers("import time; time.sleep(2)")
    with scheduler_process.scheduler_process(config, "INFO"):
        kept = started.get(timeout=60)
        started.get(timeout=60)
        assert kept.poll() == 0


def test_a_scheduler_that_exits_is_started_again(config, start_schedulers):
    started = start_schedulers(IDLE)
    with scheduler_process.scheduler_process(config, "INFO"):
        started.get(timeout=60).kill()
        assert started.get(timeout=60).poll() is None


@pytest.mark.parametrize(
    "error", [BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), MemoryError()]
)
def test_a_scheduler_that_cannot_be_started_is_tried_again(
    config, start_schedulers, monkeypatch, caplog, error
):
    started = start_schedulers(IDLE)
    start = subprocess.Popen
    errors = [error, error]

    def start_or_fail(*args, **options):
        if errors:
            raise errors.pop()
        return start(*args, **options)

    monkeypatch.setattr(scheduler_process.subprocess, "Popen", start_or_fail)
    with scheduler_process.scheduler_process(config, "INFO"):
        assert started.get(timeout=60).poll() is None
    assert caplog.text.count("the scheduler cannot be started") == 2


def test_schedulers_that_exit_at_once_are_started_with_a_pause_between_them(
    config, start_schedulers, monkeypatch
):
    started = start_schedulers("")
    waits = []

    class Waits(Event):
        def wait(self, timeout=None):
            waits.append(timeout)
            return super().wait(timeout)

    monkeypatch.setattr(scheduler_process.threading, "Event", Waits)
    monkeypatch.setattr(scheduler_process, "PAUSE_SECONDS", 0.07)
    with scheduler_process.scheduler_process(config, "INFO"):
        for _ in range(3):
            started.get(timeout=60)
    assert waits.count(0.07) >= 2


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


def test_a_round_that_fails_is_a_round_too(config, caplog):
    """So it is while the database can be read but not written, or does not answer."""
    scheduler.run_scheduler(config, OneRound())
    assert "the scheduler tries again: No database" in caplog.text
    assert scheduler.last_round_file(config).is_file()
    assert not scheduler.last_sweep_file(config).exists()
