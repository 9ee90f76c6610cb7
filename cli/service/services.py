"""`mernet services`: the embedded Postgres and Redis."""

from mernet.cli.shared.connections import start_embedded
from mernet.cli.shared.output import AsJson, note, print_json, print_table
from mernet.worker.embedded import embedded_servers
from mernet.worker.settings import settings


def start() -> None:
    """Start the embedded servers that are not running."""
    start_embedded()
    status()


def stop() -> None:
    """Stop the embedded servers; their data stays on disk."""
    for service in embedded_servers(settings()):
        service.stop()
        note(f"Embedded {service.status().name} is stopped; its data stays in {service.data}")


def status(as_json: AsJson = False) -> None:
    """Show which embedded servers are used, whether they are running, and their URLs."""
    rows = [service.status() for service in embedded_servers(settings())]
    if as_json:
        print_json([{"name": r.name, "running": r.running, "url": r.url} for r in rows])
        return
    print_table(
        ("service", "state", "url"),
        [(r.name, "running" if r.running else "stopped", r.url) for r in rows],
    )
    if len(rows) < 2:
        note("Servers named by MERNET_DATABASE_URL or MERNET_BROKER_URL are not listed.")
