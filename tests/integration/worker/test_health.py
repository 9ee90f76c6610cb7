"""A worker's health: the worker's answers are simulated, the broker is real."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery.utils.nodenames import worker_direct

from mernet.worker import broker, health
from mernet.worker.app import make_app
from mernet.worker.embedded import EmbeddedRedis
from mernet.worker.errors import BrokerError
from mernet.worker.settings import Settings

NODE = "mernet@here"
OWN_QUEUE = worker_direct(NODE).name


class Worker:
    """Answers as a worker with two processes does."""

    def __init__(self):
        self.queues = ["listing", "classify", OWN_QUEUE]
        self.tasks = []
        self.before_it_tells_its_tasks = lambda: None

    def active_queues(self):
        return {NODE: [{"name": name} for name in self.queues]}

    def stats(self):
        return {NODE: {"pool": {"max-concurrency": 2}}}

    def active(self):
        self.before_it_tells_its_tasks()
        return {NODE: self.tasks}

    def is_at_work(self, seconds: float) -> None:
        started = time.time() - seconds
        self.tasks.append(
            {"id": "run-1-chunk-2-abc", "name": "mernet.classify_chunk", "time_start": started}
        )


@pytest.fixture
def redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path)
    server.start()
    app = make_app(Settings(broker_url=server.url, chunk_time_limit=100))
    for module in (health, broker):
        monkeypatch.setattr(module, "app", app)
    monkeypatch.setattr(health, "RECEIVE_SECONDS", 0.2)
    yield server
    server.stop()


@pytest.fixture
def worker(redis, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """A worker that receives no message."""
    worker = Worker()
    monkeypatch.setattr(health.app.control, "inspect", lambda *_, **__: worker)
    return worker


def client():
    return health.app.connection_for_read().channel().client


def test_a_worker_that_answers_but_receives_no_message_is_unhealthy(worker):
    worker.is_at_work(seconds=1)
    assert "received no message" in health.why_workers_are_unhealthy("here")
    assert client().llen(OWN_QUEUE) == 0, "the probe was left lying"


def test_a_worker_all_of_whose_processes_are_busy_is_healthy(worker):
    worker.is_at_work(seconds=1)
    worker.is_at_work(seconds=100)
    assert health.why_workers_are_unhealthy("here") is None
    assert client().llen(OWN_QUEUE) == 0, "the probe was left lying"


def test_a_worker_that_is_long_past_a_time_limit_is_unhealthy(worker):
    worker.is_at_work(seconds=1)
    worker.is_at_work(seconds=200)
    assert "hangs in run-1-chunk-2-abc" in health.why_workers_are_unhealthy("here")


def test_a_worker_that_receives_its_message_late_is_healthy(worker):
    worker.before_it_tells_its_tasks = lambda: client().delete(OWN_QUEUE)
    assert health.why_workers_are_unhealthy("here") is None


def test_a_worker_that_stops_answering_is_unhealthy(worker):
    worker.active = dict
    assert "no longer answers" in health.why_workers_are_unhealthy("here")


def test_a_worker_that_consumes_none_of_the_queues_is_unhealthy(worker):
    worker.queues = [OWN_QUEUE]
    assert "consumes none of" in health.why_workers_are_unhealthy("here")


def test_a_check_withdraws_its_own_probe_only(worker):
    health.app.send_task("mernet.probe", queue=worker_direct(NODE))
    health.why_workers_are_unhealthy("here")
    assert client().llen(OWN_QUEUE) == 1
    assert 0 < client().ttl(OWN_QUEUE) <= health.PROBE_EXPIRY_SECONDS


def test_without_any_worker_the_host_is_unhealthy(redis, monkeypatch):
    monkeypatch.setattr(health, "ANSWER_SECONDS", 0.2)
    assert "No worker" in health.why_workers_are_unhealthy("here")
    assert "left@here" in health.why_workers_are_unhealthy("here", "left")


def test_a_broker_that_does_not_answer_raises_an_error(redis):
    redis.stop()
    with pytest.raises(BrokerError):
        health.why_workers_are_unhealthy("here")
