"""An archive over HTTP whose behaviour can be changed while it serves."""

import csv
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mernet.demo.archive import TRUTH

HTML = b"<!DOCTYPE html><html><body>Please log in to this network.</body></html>"
SLOW_SECONDS = 0.5

Behaviour = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    """One request; a behaviour answers it with the methods below."""

    protocol_version = "HTTP/1.1"
    archive: "FlakyArchive"

    def setup(self) -> None:
        super().setup()
        self.archive.connections.add(self.connection)

    def finish(self) -> None:
        self.archive.connections.discard(self.connection)
        super().finish()

    def do_GET(self) -> None:
        with suppress(OSError):  # the caller was killed, or has given up
            self.archive.keep_back_or_pass(self.path)
            if self.path.endswith(".img"):
                time.sleep(self.archive.pace)
            self.archive.behaviour_for(self.path)(self)

    def body(self) -> bytes | None:
        path = self.archive.folder / unquote(urlsplit(self.path).path).lstrip("/")
        return path.read_bytes() if path.is_file() else None

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """Callers that are killed close their connections in the middle."""


def serve(request: Request) -> None:
    """What an archive does that works."""
    body = request.body()
    request.answer(404 if body is None else 200, body or b"")


def busy(status: int, **headers: str) -> Behaviour:
    """Answer everything with this status."""
    return lambda request: request.answer(status, b"busy", **headers)


def only(suffix: str, behaviour: Behaviour) -> Behaviour:
    """Behave so for files whose name ends in `suffix`; serve all others."""

    def answer(request: Request) -> None:
        (behaviour if request.path.endswith(suffix) else serve)(request)

    return answer


def _of_files(behaviour: Behaviour) -> Behaviour:
    """Behave so for files that exist; for others say that they do not."""

    def answer(request: Request) -> None:
        (serve if request.body() is None else behaviour)(request)

    return answer


@_of_files
def cut(request: Request) -> None:
    """Close the connection in the middle of the body."""
    body = request.body() or b""
    request.answer(200, body[: len(body) // 2], Content_Length=str(len(body)))
    request.close_connection = True


@_of_files
def send_slowly(request: Request) -> None:
    """Send a few bytes twice a second."""
    body = request.body() or b""
    request.answer(200, b"", Content_Length=str(len(body)))
    for start in range(0, len(body), 16):
        if request.archive.behaviour is serve:
            request.wfile.write(body[start:])
            return
        request.wfile.write(body[start : start + 16])
        time.sleep(SLOW_SECONDS)


@_of_files
def short_length(request: Request) -> None:
    """Promise less than the file has: the reader stops early and sees no error."""
    body = request.body() or b""
    request.answer(200, body[:-1000])
    request.close_connection = True


@_of_files
def strange_length(request: Request) -> None:
    """State a length that is not one."""
    request.answer(200, request.body() or b"", Content_Length="many")
    request.close_connection = True


def html(request: Request) -> None:
    """Answer like the login page of a network, with 200."""
    request.answer(200, HTML, Content_Type="text/html")


def redirect_in_a_circle(request: Request) -> None:
    request.answer(302, b"", Location=request.path)


def redirect_elsewhere(request: Request) -> None:
    """Send the caller to a host that does not answer."""
    request.answer(302, b"", Location=f"http://127.0.0.2:9{request.path}")


def close_connections(request: Request) -> None:
    """Close every connection without an answer."""
    request.close_connection = True


@_of_files
def changing_index(request: Request) -> None:
    """Serve only the first half of each index table, as while it is being uploaded."""
    body = request.body() or b""
    if request.path.endswith(".tab"):
        rows = body.splitlines(keepends=True)
        body = b"".join(rows[: len(rows) // 2])
    request.answer(200, body)


@dataclass
class FlakyArchive:
    """An archive that misbehaves on demand.

    Attributes:
        folder: The archive's files.
        pace: Seconds that an image takes.
        behaviour: Answers each request.
        struck: How many requests the present behaviour has answered.
        waiting: How many requests are kept back.
        connections: Those of its callers, which they keep for further requests.
    """

    folder: Path
    pace: float = 0.0
    behaviour: Behaviour = serve
    struck: int = 0
    waiting: int = 0
    connections: set[socket.socket] = field(default_factory=set, repr=False)
    url: str = field(default="", init=False)
    _server: Server = field(init=False, repr=False)
    _suffix: str = ""
    _only: str | None = None
    _gate: tuple[str, ...] = ()
    _let_through: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def start(self, port: int = 0) -> None:
        handler = type("Handler", (Request,), {"archive": self})
        self._server = Server(("127.0.0.1", port), handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def stop(self) -> None:
        """Refuse connections from now on, and end those that are there."""
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    def sound_products(self) -> set[str]:
        """Return the products whose files are there and whole."""
        with (self.folder / TRUTH).open(newline="") as file:
            return {
                row["product_id"] for row in csv.DictReader(file) if row["expected"] == "classified"
            }

    def answers(self) -> bool:
        """Whether connections are accepted."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def keep_back(self, suffixes: tuple[str, ...], let_through: int = 0) -> None:
        """Let some files with these endings through, then keep callers waiting until `release`."""
        with self._lock:
            self._gate, self._let_through = suffixes, let_through

    def release(self) -> None:
        self._gate = ()

    def keep_back_or_pass(self, path: str) -> None:
        if not self._is_kept_back(path):
            return
        with self._lock:
            self.waiting += 1
        try:
            while self._gate:
                time.sleep(0.02)
        finally:
            with self._lock:
                self.waiting -= 1

    def _is_kept_back(self, path: str) -> bool:
        with self._lock:
            if not self._gate or not path.lower().endswith(self._gate):
                return False
            self._let_through -= 1
            return self._let_through < 0

    def behaviour_for(self, path: str) -> Behaviour:
        """Return how to answer a request; with a suffix, only one file is answered so."""
        with self._lock:
            if self._suffix and self._only is None and path.endswith(self._suffix):
                self._only = path
            is_struck = self.behaviour is not serve and (not self._suffix or path == self._only)
            self.struck += is_struck
            return self.behaviour if is_struck else serve

    @contextmanager
    def behaving(self, behaviour: Behaviour, suffix: str = "") -> Iterator[None]:
        """Behave otherwise, for all files or for the first one whose name ends in `suffix`."""
        with self._lock:
            self._suffix, self._only, self.struck = suffix, None, 0
            self.behaviour = behaviour
        try:
            yield
        finally:
            self.behaviour = serve

    @contextmanager
    def away(self) -> Iterator[None]:
        port = self.port
        self.stop()
        try:
            yield
        finally:
            self.start(port)
