"""A `run new` that is stopped (Ctrl-Z) keeps others out for its lease, then has lost its turn."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faults.flaky_archive import FlakyArchive, Request, serve

CONTENT = (
    "SELECT run_id, kind, state, left_out, rows_read FROM run ORDER BY 1",
    "SELECT run_id, product_id, chunk_number FROM run_product ORDER BY 1, 2",
    "SELECT * FROM product ORDER BY product_id",
    "SELECT * FROM listing_state ORDER BY 1, 2, 3",
)


@pytest.fixture
def flaky(archive: Path) -> Iterator[FlakyArchive]:
    made = FlakyArchive(archive, 0)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def started() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start a command, which is killed at the end if it has not ended."""
    processes = []

    def start(service, *words):
        processes.append(service.start(*words, stderr=subprocess.PIPE))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


has_asked = threading.Event()


def keep_back(request: Request) -> None:
    has_asked.set()
    while request.archive.behaviour is keep_back:
        time.sleep(0.05)
    serve(request)


def content(service) -> list[object]:
    return [service.rows(each) for each in CONTENT]


def test_others_are_told_who_has_the_lock_and_the_stopped_one_changes_nothing_later(
    make_service, flaky, started
):
    service = make_service()
    words = ("run", "new", "--archive", f"{flaky.url}mer1po_0xxx/")
    with flaky.behaving(keep_back):
        stopped = started(service, *words)
        assert has_asked.wait(120)
        stopped.send_signal(signal.SIGSTOP)

    # A command takes long to start on a busy machine, and must not find the lease over by then.
    service.execute("UPDATE service_lock SET heartbeat_at = now() + interval '1 hour'")
    refused = service.run(*words)
    said = " ".join(refused.stderr.split())
    assert refused.returncode == 1
    assert f"process {stopped.pid}" in said
    assert "is running since 2" in said
    assert os.uname().nodename in said
    assert service.rows("SELECT count(*) FROM run") == [(0,)]

    service.execute("UPDATE service_lock SET heartbeat_at = now() - interval '1 minute'")
    service.succeed(*words)
    before = content(service)
    assert len(before[0]) == 1

    stopped.send_signal(signal.SIGCONT)
    _, said = stopped.communicate(timeout=120)
    assert stopped.returncode == 1
    assert "lost the lock of the ingest" in " ".join(said.split())
    assert content(service) == before
