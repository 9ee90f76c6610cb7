"""An archive over HTTP whose behaviour can be changed while it serves."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

HTML = b"<!DOCTYPE html><html><body>Please log in to this network.</body></html>"
DRIP_SECONDS = 0.5

Behaviour = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    """One request; a behaviour answers it with the methods below."""

    protocol_version = "HTTP/1.1"
    archive: "FlakyArchive"

    def do_GET(self) -> None:
        with suppress(OSError):  # the caller was killed, or has given up
            if self.path.endswith(".img"):
                time.sleep(self.archive.pace)
            self.archive.behaviour(self)

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


def cut(request: Request) -> None:
    """Close the connection in the middle of the body."""
    body = request.body() or b""
    request.answer(200, body[: len(body) // 2], Content_Length=str(len(body)))
    request.close_connection = True


def drip(request: Request) -> None:
    """Send a few bytes twice a second."""
    body = request.body() or b""
    request.answer(200, b"", Content_Length=str(len(body)))
    for start in range(0, len(body), 16):
        if request.archive.behaviour is not drip:
            request.wfile.write(body[start:])
            return
        request.wfile.write(body[start : start + 16])
        time.sleep(DRIP_SECONDS)


def short_length(request: Request) -> None:
    """Promise less than the file has: the reader stops early and sees no error."""
    body = request.body() or b""
    request.answer(200, body[:-1000])
    request.close_connection = True


def html(request: Request) -> None:
    """Answer like the login page of a network, with 200."""
    request.answer(200, HTML, Content_Type="text/html")


def redirect_in_a_circle(request: Request) -> None:
    request.answer(302, b"", Location=request.path)


def redirect_elsewhere(request: Request) -> None:
    """Send the caller to a host that does not answer."""
    request.answer(302, b"", Location=f"http://127.0.0.2:9{request.path}")


def hang_up(request: Request) -> None:
    """Close every connection without an answer."""
    request.close_connection = True


def changing_index(request: Request) -> None:
    """Serve only the first half of each index table, as while it is being uploaded."""
    body = request.body() or b""
    if request.path.endswith(".tab"):
        rows = body.splitlines(keepends=True)
        body = b"".join(rows[: len(rows) // 2])
    request.answer(200, body)


@dataclass
class FlakyArchive:
    """The archive; `behaviour` answers each request, `pace` are the seconds that an image takes."""

    folder: Path
    pace: float = 0.0
    behaviour: Behaviour = serve
    url: str = field(default="", init=False)
    _server: Server = field(init=False, repr=False)

    def start(self, port: int = 0) -> None:
        handler = type("Handler", (Request,), {"archive": self})
        self._server = Server(("127.0.0.1", port), handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def stop(self) -> None:
        """Refuse connections from now on."""
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def behaving(self, behaviour: Behaviour) -> Iterator[None]:
        self.behaviour = behaviour
        try:
            yield
        finally:
            self.behaviour = serve

    @contextmanager
    def away(self) -> Iterator[None]:
        port = self._server.server_port
        self.stop()
        try:
            yield
        finally:
            self.start(port)
