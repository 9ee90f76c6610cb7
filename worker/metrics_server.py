"""Hands a worker's metrics to Prometheus: what its processes counted, added up."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from wsgiref.simple_server import WSGIServer

from mernet.worker.errors import WorkerError

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def serve_metrics(host: str, port: int | None) -> Iterator[None]:
    """Serve, while the block lasts, what the processes forked in it count; nothing without a port.

    The processes count in files of one folder, a new one, whose name prometheus_client reads once,
    when it is imported: so this comes before anything that counts. Raises `WorkerError` where the
    port cannot be had.
    """
    if port is None:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="mernet-metrics-") as folder:
        os.environ[FOLDER_VARIABLE] = folder
        server = _server(host, port)
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()


def _server(host: str, port: int) -> WSGIServer:
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    try:
        return start_http_server(port, host, registry)[0]
    except OSError as error:
        raise WorkerError(
            f"No metrics can be served at {host}:{port} ({error}); free the port or correct "
            "MERNET_METRICS_PORT."
        ) from error
