"""Serves a folder over HTTP on loopback, in a thread: the sample archive's stand-in for the PDS."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Quiet(SimpleHTTPRequestHandler):
    """Files as they are, connections kept open, nothing printed."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@contextmanager
def serve(folder: Path, port: int = 0) -> Iterator[str]:
    """Serve a folder while the context lasts; gives its base URL, which ends in a slash.

    Port 0 takes a free one. Raises OSError where the port is taken, FileNotFoundError where there
    is no such folder.
    """
    root = folder.resolve(strict=True)
    handler = partial(_Quiet, directory=str(root))
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, name="demo-archive", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()
