"""Serves a worker's metrics to Prometheus: the sums over all its processes."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from wsgiref.simple_server import WSGIServer

from mernet.worker.errors import WorkerError

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def serve_metrics(host: str, port: int | None) -> Iterator[None]:
    """Serve the metrics of all processes forked in the block; without a port do nothing.

    The processes write their metrics to files in a new folder. prometheus_client reads the name of
    that folder once, when it is imported, so enter this block before importing any module that
    defines metrics.

    Raises:
        WorkerError: If the port cannot be opened.
    """
    if port is None:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="mernet-metrics-") as folder:
        os.environ[FOLDER_VARIABLE] = folder
        server = _start_server(host, port)
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()


def _start_server(host: str, port: int) -> WSGIServer:
    # Imported here because the variable for the folder has to be set first.
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    try:
        return start_http_server(port, host, registry)[0]
    except OSError as error:
        raise WorkerError(
            f"Metrics cannot be served at {host}:{port} ({error}); free the port or change "
            "MERNET_METRICS_PORT."
        ) from error
