"""An HTTP server for the files of a folder, on loopback; it serves the sample archive."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _SilentHandler(SimpleHTTPRequestHandler):
    """Serves files, keeps connections open and prints nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@contextmanager
def serve(folder: Path, port: int = 0) -> Iterator[str]:
    """Serve a folder in a thread and yield its base URL, which ends in a slash.

    Args:
        folder: The folder.
        port: The port on 127.0.0.1; 0 for any free port.

    Raises:
        FileNotFoundError: The folder does not exist.
        OSError: The port is in use.
    """
    root = folder.resolve(strict=True)
    handler = partial(_SilentHandler, directory=str(root))
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, name="demo-archive", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()
