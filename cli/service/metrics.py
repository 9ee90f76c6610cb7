"""`mernet metrics`: the service's metrics for Prometheus."""

import signal
import sys
from typing import Annotated

import typer
from prometheus_client import CollectorRegistry, start_http_server

from mernet.cli.shared.connections import ledger, start_embedded
from mernet.cli.shared.output import note
from mernet.worker.exporter import ServiceCollector
from mernet.worker.metrics_server import https_files
from mernet.worker.settings import settings


def metrics(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 9808,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for all networks.")
    ] = "127.0.0.1",
) -> None:
    """Serve metrics of runs, chunks, queues and workers to Prometheus until Ctrl-C.

    A worker serves its own metrics, such as the time of each stage, at MERNET_METRICS_PORT.
    """
    config = settings()
    certificate = https_files(config.metrics_cert_file, config.metrics_key_file)
    registry = CollectorRegistry()
    start_embedded()
    registry.register(ServiceCollector(ledger(), config))
    try:
        _, thread = start_http_server(port, host, registry, *certificate)
    except OSError as error:
        raise typer.BadParameter(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another --host or --port."
        ) from error
    scheme = "https" if certificate else "http"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # sent by service managers
    note(f"Metrics are served at {scheme}://{host}:{port}/metrics until Ctrl-C.")
    thread.join()
