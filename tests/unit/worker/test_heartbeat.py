"""The heartbeat: sent while work runs, until the work is no longer wanted."""

import errno
import threading

import pytest
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


@pytest.mark.parametrize(
    "fault",
    [
        OperationalError("SELECT", {}, Exception("server closed the connection")),
        OSError(errno.EMFILE, "Too many open files"),
        MemoryError(),
    ],
)
def test_a_fault_of_the_database_or_of_this_machine_changes_nothing(fault: Exception) -> None:
    again = threading.Event()
    beats = []

    def beat() -> bool:
        beats.append(1)
        if len(beats) == 1:
            raise fault
        again.set()
        return True

    with Heartbeat(beat, 0.001) as heart:
        assert again.wait(10)
    assert heart.wanted
