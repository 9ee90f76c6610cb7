"""Whatever lies in the working folder, commands import the installed packages."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from mernet.self_command import self_command

OUR_FOLDERS = ("model", "db", "cli", "worker", "pds", "demo", "mernet")
LIBRARIES = ("redis", "celery", "numpy", "signal", "random", "queue")
NAMES = OUR_FOLDERS + LIBRARIES
SCRIPT = [str(Path(sys.executable).with_name("mernet"))]
FAILING_WORKER = """
from celery.worker.consumer import Consumer
from mernet.cli.main import main

def fail(self):
    raise AttributeError("as kombu does when Redis has gone")

Consumer.start = fail
main()
"""


@pytest.fixture
def working_folder(tmp_path, monkeypatch) -> Path:
    """The working folder of everything that the test starts; each of its modules raises."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('{name}.py was imported')\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", [SCRIPT, self_command()], ids=["script", "self_command"])
def test_the_demo_begins(working_folder, make_service, command, tmp_path):
    service = make_service()
    log = service.folder / "demo.log"
    with log.open("w") as out:
        environment = service.environment | {"MERNET_DATA_DIR": f"{service.folder}/d"}
        process = subprocess.Popen([*command, "demo"], env=environment, stdout=out, stderr=out)
    try:
        drawn = service.folder / "d" / "demo" / "archive"
        service.wait_for("products", lambda: process.poll() is not None or any(drawn.rglob("*")))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        stop = [*self_command(), "services", "stop"]
        subprocess.run(stop, env=environment, check=True, capture_output=True)
    said = log.read_text()
    assert "Drawing products" in said
    assert "was imported" not in said
    assert process.returncode == 130


def test_a_worker_restarts_itself(working_folder, make_service):
    service = make_service()
    log = service.folder / "logs" / "worker.log"
    log.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-P", "-c", FAILING_WORKER, "worker", "--processes", "1"]
    with log.open("w") as out:
        process = subprocess.Popen(command, env=service.environment, stdout=out, stderr=out)
    try:
        service.wait_for("a restart", lambda: "Worker exited unexpectedly" in service.log())
        service.wait_for("a worker", lambda: " ready." in service.log())
        assert service.run("health", "worker").returncode == 0
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(60)
    assert "was imported" not in service.log()


def test_flower_starts(working_folder, idle_service):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {key: v for key, v in os.environ.items() if not key.startswith("FLOWER_")}
    process = subprocess.Popen(
        [*SCRIPT, "flower", "--port", str(port)],
        env=environment | idle_service.environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        idle_service.wait_for("Flower", lambda: process.poll() is not None or answers(port))
    finally:
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert "was imported" not in said
    assert process.returncode == 0


def answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/workers", timeout=30).ok
    except requests.ConnectionError:
        return False
