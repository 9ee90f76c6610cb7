"""The health of the scheduler."""

import fcntl
import os
import time

import pytest

from mernet.worker.errors import WorkerError
from mernet.worker.scheduler import last_sent_file, run_scheduler, why_scheduler_is_unhealthy
from mernet.worker.settings import Settings


@pytest.fixture
def config(tmp_path):
    return Settings(data_dir=tmp_path, sweep_seconds=20, ingest_seconds=86400)


def sent(config, seconds_ago: float) -> None:
    file = last_sent_file(config)
    file.parent.mkdir()
    file.touch()
    then = time.time() - seconds_ago
    os.utime(file, (then, then))


def test_a_scheduler_that_has_not_run_is_unhealthy(config):
    assert "has not run yet" in why_scheduler_is_unhealthy(config)


def test_a_scheduler_may_miss_its_shortest_interval_twice(config):
    sent(config, seconds_ago=85)
    assert why_scheduler_is_unhealthy(config) is None


def test_a_stopped_scheduler_is_unhealthy_however_rare_the_ingest(config):
    sent(config, seconds_ago=95)
    assert "95 seconds ago" in why_scheduler_is_unhealthy(config)


def test_a_second_scheduler_is_refused(config):
    sent(config, seconds_ago=0)
    with (last_sent_file(config).parent / "lock").open("w") as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        with pytest.raises(WorkerError, match="Another scheduler"):
            run_scheduler(config, "INFO")
