"""The heartbeat: sent while work runs, until the work is no longer wanted."""

import threading

from sqlalchemy.exc import OperationalError

from mernet.worker.heartbeat import Heartbeat


def test_it_beats_until_the_block_ends() -> None:
    three = threading.Event()
    beats = []

    def beat() -> bool:
        beats.append(1)
        if len(beats) == 3:
            three.set()
        return True

    with Heartbeat(beat, 0.001) as heart:
        assert three.wait(10)
    assert heart.wanted
    after = len(beats)
    assert not heart._thread.is_alive()
    assert len(beats) == after


def test_after_a_no_the_work_is_unwanted_and_no_beat_follows() -> None:
    beats = []

    def beat() -> bool:
        beats.append(1)
        return False

    with Heartbeat(beat, 0.001) as heart:
        heart._thread.join(10)
    assert not heart.wanted
    assert len(beats) == 1


def test_a_database_that_does_not_answer_changes_nothing() -> None:
    again = threading.Event()
    beats = []

    def beat() -> bool:
        beats.append(1)
        if len(beats) == 1:
            raise OperationalError("SELECT", {}, Exception("server closed the connection"))
        again.set()
        return True

    with Heartbeat(beat, 0.001) as heart:
        assert again.wait(10)
    assert heart.wanted
