"""Serves a worker's metrics to Prometheus: the sums over all its processes."""

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from wsgiref.simple_server import WSGIServer

from mernet.worker.errors import WorkerError

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def serve_metrics(
    host: str, port: int | None, certificate: Path | None = None, key: Path | None = None
) -> Iterator[None]:
    """Serve the metrics of all processes forked in the block; without a port do nothing.

    With a certificate and its key, they are served over HTTPS.

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
        server = _start_server(host, port, certificate, key)
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()


def https_files(certificate: Path | None, key: Path | None) -> tuple[str, str] | tuple[()]:
    """Return the arguments of prometheus_client for HTTPS, none for HTTP."""
    return (str(certificate), str(key)) if certificate and key else ()


def _start_server(host: str, port: int, certificate: Path | None, key: Path | None) -> WSGIServer:
    # Imported here because the variable for the folder has to be set first.
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    try:
        return start_http_server(port, host, registry, *https_files(certificate, key))[0]
    except ssl.SSLError as error:
        raise WorkerError(
            f"The certificate {certificate} or its key cannot be used ({error.args[0]}); correct "
            "MERNET_METRICS_CERT_FILE and MERNET_METRICS_KEY_FILE."
        ) from error
    except OSError as error:
        raise WorkerError(
            f"Metrics cannot be served at {host}:{port} ({error.strerror}); free the port or "
            "change MERNET_METRICS_PORT."
        ) from error
