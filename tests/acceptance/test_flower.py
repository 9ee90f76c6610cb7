"""`mernet flower`: on loopback without a password, elsewhere with one only, ended by Ctrl-C."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import psutil
import pytest
import requests

SECRET = "not-to-be-shown"


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def flower(service, port: int, *words: str) -> Iterator["subprocess.Popen[str]"]:
    """Start Flower, wait until it listens, and end it by Ctrl-C if the test did not."""
    process = service.start("flower", "--port", str(port), *words, stderr=subprocess.PIPE)
    try:
        service.wait_for("Flower", lambda: process.poll() is not None or listens(port))
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def columns(port: int) -> list[str]:
    """The columns of the table of tasks."""
    page = requests.get(f"http://127.0.0.1:{port}/tasks", timeout=30)
    assert page.status_code == 200
    return re.findall(r'data-column="(\w+)"', page.text)


def test_flower_shows_workers_and_tasks_on_loopback_alone(idle_service, port, monkeypatch):
    monkeypatch.delenv("FLOWER_BASIC_AUTH", raising=False)
    with flower(idle_service, port) as process:
        workers = requests.get(f"http://127.0.0.1:{port}/workers", timeout=30)
        assert workers.status_code == 200
        assert columns(port)[:4] == ["name", "args", "state", "result"]
        listening = [
            each.laddr.ip
            for each in psutil.Process(process.pid).net_connections()
            if each.status == psutil.CONN_LISTEN
        ]
        assert listening == ["127.0.0.1"]
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode in (0, 130)
    assert "Traceback" not in said


def test_settings_of_flower_are_read_from_the_environment(idle_service, port, monkeypatch):
    monkeypatch.setenv("FLOWER_TASKS_COLUMNS", "name,uuid")
    monkeypatch.setenv("FLOWER_PORT", str(port))
    monkeypatch.setenv("FLOWER_BASIC_AUTH", f"operator:{SECRET}")
    process = idle_service.start("flower", "--host", "0.0.0.0", stderr=subprocess.PIPE)
    try:
        idle_service.wait_for("Flower", lambda: listens(port))
        url = f"http://127.0.0.1:{port}/tasks"
        assert requests.get(url, timeout=30).status_code == 401
        page = requests.get(url, timeout=30, auth=("operator", SECRET))
        assert page.status_code == 200
        assert re.findall(r'data-column="(\w+)"', page.text) == ["name", "uuid"]
    finally:
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert SECRET not in said


def test_flower_uses_https_and_a_login_from_a_file(
    idle_service, port, monkeypatch, authority, stranger, tmp_path
):
    login = tmp_path / "login"
    login.write_text(f"operator:{SECRET}\n")
    monkeypatch.delenv("FLOWER_BASIC_AUTH", raising=False)
    monkeypatch.setenv("FLOWER_BASIC_AUTH_FILE", str(login))
    monkeypatch.setenv("FLOWER_CERTFILE", str(authority.certificate))
    monkeypatch.setenv("FLOWER_KEYFILE", str(authority.key))
    with flower(idle_service, port) as process:
        address = f"https://localhost:{port}/workers"
        ask = partial(requests.get, address, timeout=30)
        assert ask(verify=str(authority.ca)).status_code == 401
        allowed = ask(verify=str(authority.ca), auth=("operator", SECRET))
        assert allowed.status_code == 200
        with pytest.raises(requests.exceptions.SSLError):
            ask(verify=str(stranger.ca))
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert SECRET not in said


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_an_address_that_others_reach_needs_a_password(idle_service, host, monkeypatch):
    monkeypatch.delenv("FLOWER_BASIC_AUTH", raising=False)
    ran = idle_service.run("flower", "--host", host)
    assert ran.returncode == 2
    assert "FLOWER_BASIC_AUTH=name:password" in " ".join(ran.stderr.split())


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("login", ["without-a-name", "without-a-password:", "a:b,"])
def test_a_login_needs_a_name_and_a_password(idle_service, host, login, monkeypatch):
    monkeypatch.setenv("FLOWER_BASIC_AUTH", login)
    ran = idle_service.run("flower", "--host", host)
    assert ran.returncode == 2
    assert "write name:password" in " ".join(ran.stderr.replace("│", " ").split())
    assert login not in ran.stderr


def test_a_port_in_use_is_one_sentence(idle_service):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = idle_service.run("flower", "--port", str(taken.getsockname()[1]))
    assert ran.returncode == 2
    assert "choose another --host or --port" in " ".join(ran.stderr.replace("│", " ").split())
    assert "Traceback" not in ran.stderr


def test_no_configuration_file_of_the_working_folder_is_run(idle_service, port, tmp_path):
    (tmp_path / "flowerconfig.py").write_text("raise SystemExit('run')")
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        with flower(idle_service, port) as process:
            assert process.poll() is None
            assert columns(port)
    finally:
        os.chdir(here)
