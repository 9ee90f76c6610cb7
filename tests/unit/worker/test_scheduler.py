"""The health of the scheduler."""

import os
import time

import pytest

from mernet.worker.scheduler import last_sweep_file, why_scheduler_is_unhealthy
from mernet.worker.settings import Settings


@pytest.fixture
def config(tmp_path):
    return Settings(data_dir=tmp_path, sweep_seconds=20, ingest_seconds=86400)


def swept(config, seconds_ago: float) -> None:
    file = last_sweep_file(config)
    file.parent.mkdir()
    file.touch()
    then = time.time() - seconds_ago
    os.utime(file, (then, then))


def test_a_scheduler_that_has_not_run_is_unhealthy(config):
    assert "has not run yet" in why_scheduler_is_unhealthy(config)


def test_a_scheduler_may_miss_two_rounds(config):
    swept(config, seconds_ago=85)
    assert why_scheduler_is_unhealthy(config) is None


def test_a_stopped_scheduler_is_unhealthy_however_rare_the_ingest(config):
    swept(config, seconds_ago=95)
    assert "95 seconds ago" in why_scheduler_is_unhealthy(config)
