"""A web server on loopback whose responses a test sets."""

from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

Answer = Callable[[BaseHTTPRequestHandler, int], None]


class Server:
    """Answers each path as set by `on`; records the requests' number and headers."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.asked[self.path] += 1
                server.headers.append(dict(self.headers))
                answer = server.answers.get(self.path, reply(404, b"no such file"))
                answer(self, server.asked[self.path])

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def on(self, path: str, answer: Answer) -> str:
        """Answer requests for a path; returns its URL."""
        self.answers[path] = answer
        return self.url(path)

    def url(self, path: str) -> str:
        """The URL of a path."""
        return f"http://127.0.0.1:{self._http.server_port}{path}"

    def stop(self) -> None:
        """Free the port."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


def reply(status: int, body: bytes = b"", **headers: str) -> Answer:
    """A complete answer; `Content_Length=` overrides the true length."""

    def answer(handler: BaseHTTPRequestHandler, _: int) -> None:
        handler.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that answers 404 to all paths that a test has not set."""
    server = Server()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def answers() -> Callable[..., Answer]:
    """Makes complete answers."""
    return reply
