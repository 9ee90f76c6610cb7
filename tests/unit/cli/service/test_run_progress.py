"""What a followed run says of the broker."""

import threading

import pytest

from mernet.cli.service import run_progress
from mernet.worker.broker import BrokerState
from mernet.worker.errors import BrokerError

PATIENCE = 10


@pytest.fixture
def broker(monkeypatch):
    """A broker that answers what the test tells it, and how often it was looked at."""

    class Broker:
        answer = BrokerState(
            {"listing": 1, "classify": 11, "sweep": 0},
            unacknowledged=2,
            consumers={},
            workers=("a",),
        )
        looks = threading.Semaphore(0)

        def state(self) -> BrokerState:
            self.looks.release()
            if isinstance(self.answer, BrokerError):
                raise self.answer
            return self.answer

        def was_looked_at(self, times: int) -> bool:
            return all(self.looks.acquire(timeout=PATIENCE) for _ in range(times))

    broker = Broker()
    monkeypatch.setattr(run_progress, "broker_state", broker.state)
    monkeypatch.setattr(run_progress, "LOOK_SECONDS", 0.01)
    return broker


def test_messages_and_workers_are_told_and_looked_at_again_and_again(broker):
    with run_progress.BrokerWatch() as watch:
        assert broker.was_looked_at(2)
        assert watch.seen == "messages waiting: 12, workers: 1"
        broker.answer = BrokerState({"listing": 0}, unacknowledged=0, consumers={}, workers=())
        assert broker.was_looked_at(3)
        assert watch.seen == "messages waiting: 0, workers: 0"


def test_a_broker_that_does_not_answer_is_told_and_ends_nothing(broker):
    broker.answer = BrokerError("It is gone.")
    with run_progress.BrokerWatch() as watch:
        assert broker.was_looked_at(2)
        assert watch.seen == "the broker does not answer"


def test_a_broker_that_hangs_holds_nothing_up(broker, monkeypatch):
    answers = threading.Event()
    monkeypatch.setattr(run_progress, "broker_state", lambda: answers.wait() and broker.answer)
    with run_progress.BrokerWatch() as watch:
        assert watch.seen == "the broker has not answered yet"
    answers.set()
