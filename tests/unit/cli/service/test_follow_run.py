"""What following a run shows of the broker."""

import threading
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from mernet.cli.service import follow_run
from mernet.db import ledger
from mernet.db.errors import ConnectionFailed
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


@pytest.fixture
def following(broker, monkeypatch):
    """What `ledger.progress` answers in turn, and a worker that does not end before the run."""

    class Worker:
        def __init__(self, **_: object) -> None:
            self.is_stopped = False

        def __enter__(self) -> "Worker":
            return self

        def __exit__(self, *_: object) -> None:
            self.is_stopped = True

        def ensure(self) -> None:
            assert not self.is_stopped

    answers = []

    def progress(engine: object, run_id: int) -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(follow_run, "TemporaryWorker", Worker)
    monkeypatch.setattr(follow_run.ledger, "progress", progress)
    monkeypatch.setattr(follow_run, "LEDGER_SECONDS", 0)
    return answers


def progress_of(state: ledger.RunState) -> SimpleNamespace:
    run = SimpleNamespace(run_id=1, state=state, paused=False, waits=False, rows_read=0)
    return SimpleNamespace(
        run=run, classified=1, failed=0, kept=0, listed=2, chunks={"claimed": 1}, rate=1.0
    )


def follow() -> object:
    return follow_run.follow_run(sa.create_engine("sqlite://"), 1, may_start_worker=True)


def test_an_outage_of_the_database_does_not_end_the_following_of_a_run(following, capsys):
    finished = progress_of(ledger.RunState.FINISHED)
    away = ConnectionFailed("The database does not answer (refused).")
    following.extend([progress_of(ledger.RunState.RUNNING), away, away, finished])
    assert follow() is finished
    assert capsys.readouterr().err.count("The database does not answer (refused).") == 1


def test_whatever_ends_the_following_of_a_run_a_note_says_that_the_run_continues(following, capsys):
    following.append(BrokerError("It is gone."))
    with pytest.raises(BrokerError):
        follow()
    assert "mernet status 1 --follow" in " ".join(capsys.readouterr().err.split())
