"""What following a run shows of the broker."""

import threading

import pytest

from mernet.cli.service import follow_run
from mernet.worker.broker import BrokerState
from mernet.worker.errors import BrokerError

PATIENCE = 10


@pytest.fixture
def broker(monkeypatch):
    """A broker that answers what the test tells it, and how often it was asked."""

    class Broker:
        answer = BrokerState(
            {"listing": 1, "classify": 11},
            unacknowledged=2,
            consumers={},
            workers=("a",),
        )
        questions = threading.Semaphore(0)

        def state(self) -> BrokerState:
            self.questions.release()
            if isinstance(self.answer, BrokerError):
                raise self.answer
            return self.answer

        def was_asked(self, times: int) -> bool:
            return all(self.questions.acquire(timeout=PATIENCE) for _ in range(times))

    broker = Broker()
    monkeypatch.setattr(follow_run, "broker_state", broker.state)
    monkeypatch.setattr(follow_run, "BROKER_SECONDS", 0.01)
    return broker


def test_messages_and_workers_are_counted_again_and_again(broker):
    with follow_run.BrokerWatch() as watch:
        assert broker.was_asked(2)
        assert watch.summary == "messages waiting: 12, workers: 1"
        broker.answer = BrokerState({"listing": 0}, unacknowledged=0, consumers={}, workers=())
        assert broker.was_asked(3)
        assert watch.summary == "messages waiting: 0, workers: 0"


def test_a_broker_that_does_not_answer_is_reported_and_ends_nothing(broker):
    broker.answer = BrokerError("It is gone.")
    with follow_run.BrokerWatch() as watch:
        assert broker.was_asked(2)
        assert watch.summary == "the broker does not answer"


def test_a_broker_that_hangs_holds_nothing_up(broker, monkeypatch):
    answers = threading.Event()
    monkeypatch.setattr(follow_run, "broker_state", lambda: answers.wait() and broker.answer)
    with follow_run.BrokerWatch() as watch:
        assert watch.summary == "the broker has not answered yet"
    answers.set()
