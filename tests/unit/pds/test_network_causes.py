"""Why a transfer failed: the cause at hand in a few words, not the libraries' nested errors."""

import socket
import threading
from contextlib import closing

import pytest

from mernet.pds.errors import TransferError
from mernet.pds.fetch import Fetcher


def why(url: str) -> str:
    """What an attempt to fetch from this URL says."""
    fetcher = Fetcher(attempts=1, connect_seconds=0.2, read_seconds=0.2)
    with fetcher, pytest.raises(TransferError) as failed:
        fetcher.fetch(url)
    message = str(failed.value)
    assert not any(
        word in message for word in ("HTTPConnection", "Max retries", "urllib3", "Errno")
    )
    return message


@pytest.fixture
def listener():
    """A socket that listens on loopback."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener


def url_of(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}/a.img"


def answer_once(listener: socket.socket, data: bytes) -> None:
    def run() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(data)

    threading.Thread(target=run, daemon=True).start()


def test_a_refused_connection(listener):
    url = url_of(listener)
    listener.close()
    assert why(url) == (
        f"The transfer of {url} broke: connection refused; "
        "check that the server runs at this host and port"
    )


def test_a_name_that_does_not_exist(monkeypatch):
    def fail(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert "broke: the name of the host cannot be resolved; check the URL and this" in (
        why("http://archive.example/a.img")
    )


def test_a_server_that_does_not_answer(listener):
    assert "broke: no answer within 0.2 s; try again later" in why(url_of(listener))


def test_a_server_that_closes_the_connection_at_once(listener):
    answer_once(listener, b"")
    assert "broke: the server closed the connection without an answer" in why(url_of(listener))


def test_a_server_that_ends_in_the_middle(listener):
    answer_once(listener, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n1234567")
    assert "broke: it ended after 7 bytes; try again later" in why(url_of(listener))


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"PDS_VERSION_ID = PDS3\r\n",
        b"\0" * 100 + b"\r\n",
        b"HTTP/1.1 abc E\r\n\r\n",
        b"HTTP/1.1 099 E\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 4\r\n\r\nabcde",
    ],
    ids=["no HTTP", "NULs", "no status", "status 99", "HTTP/2", "200 headers", "long header",
         "two lengths"],
)  # fmt: skip
def test_a_server_that_does_not_speak_http(listener, answer):
    answer_once(listener, answer)
    assert "broke: the answer does not follow the rules of HTTP; try again" in why(url_of(listener))


@pytest.mark.parametrize(
    "chunks", [b"40\r\nabc", b"3\r\nabc\r\n", b"zz\r\nabc\r\n0\r\n\r\n", b"-4\r\nabc\r\n"]
)
def test_a_server_whose_chunks_do_not_end(listener, chunks):
    answer_once(listener, CHUNKED + chunks)
    assert "broke: it ended too early; try again later" in why(url_of(listener))


def test_a_host_that_cannot_be_reached(monkeypatch):
    def fail(*_, **__):
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr("urllib3.util.connection.create_connection", fail)
    assert "broke: the host cannot be reached; check the URL" in why("http://127.0.0.1:1/a.img")


def test_each_retry_is_told_with_its_cause_and_its_wait(listener):
    url, told = url_of(listener), []
    listener.close()
    fetcher = Fetcher(attempts=3, sleep=lambda _: None, on_retry=lambda *retry: told.append(retry))
    with fetcher, pytest.raises(TransferError):
        fetcher.fetch(url)
    assert len(told) == 2
    assert all("connection refused" in message and seconds > 0 for message, seconds in told)
