"""A worker's metrics: the parent serves the sums over its processes."""

import socket
import subprocess
import sys

import pytest

from mernet.worker.errors import WorkerError
from mernet.worker.metrics_server import serve_metrics

# In a process of its own: prometheus_client decides at its import how it counts.
WORKER = """
import multiprocessing, sys, urllib.request
from mernet.worker.metrics_server import serve_metrics

port = int(sys.argv[1])
with serve_metrics("127.0.0.1", port):
    from mernet.worker.metrics import count_batches

    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=count_batches, args=(images, 8)) for images in (3, 9)]
    for child in children:
        child.start()
        child.join()
    print(urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode())
"""


@pytest.fixture
def taken_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_the_counts_of_all_processes_are_added_up():
    command = [sys.executable, "-c", WORKER, str(free_port())]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert "mernet_batch_images_total 12.0" in lines
    assert "mernet_batch_slots_total 24.0" in lines


def test_a_port_in_use_is_named_with_its_setting(taken_port, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    with (
        pytest.raises(WorkerError, match=f"{taken_port}.*change MERNET_METRICS_PORT"),
        serve_metrics("127.0.0.1", taken_port),
    ):
        pass
