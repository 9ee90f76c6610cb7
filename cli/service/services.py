"""`mernet services`: the embedded Postgres and Redis."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from sqlalchemy.exc import SQLAlchemyError

from mernet.cli.shared.connections import start_embedded
from mernet.cli.shared.output import AsJson, note, print_json, print_table
from mernet.db.engine import connect
from mernet.db.errors import DbError
from mernet.db.ledger import open_runs
from mernet.db.migrate import check_current
from mernet.worker.embedded import EmbeddedPostgres, EmbeddedRedis, embedded_servers
from mernet.worker.errors import BrokerError
from mernet.worker.settings import settings


def start() -> None:
    """Start the embedded servers that are not running."""
    start_embedded()
    status()


def stop() -> None:
    """Stop the embedded servers; their data stays on disk."""
    servers = embedded_servers(settings())
    for warning in _unfinished_work(servers):
        note(warning)
    for service in servers:
        service.stop()
        note(f"Embedded {service.status().name} is stopped; its data stays in {service.data}")


def status(as_json: AsJson = False) -> None:
    """Show which embedded servers are used, whether they are running, and their URLs."""
    rows = [service.status() for service in embedded_servers(settings())]
    if as_json:
        print_json([asdict(row) | {"running": row.running} for row in rows])
        return
    print_table(
        ("service", "state", "url"),
        [(r.name, r.state, r.url) for r in rows],
    )
    if len(rows) < 2:
        note("Servers named by MERNET_DATABASE_URL or MERNET_BROKER_URL are not listed.")


def _unfinished_work(servers: Sequence[EmbeddedPostgres | EmbeddedRedis]) -> Iterator[str]:
    """Yield a sentence on open runs and one on workers that would lose the running servers."""
    running = [server.status() for server in servers if server.status().running]
    for server in running:
        if server.name == "postgres" and (runs := _open_runs(server.url)):
            yield f"Still open: {runs}. They continue when the servers and a worker run again."
        if server.name == "redis" and (workers := _workers()):
            yield (
                f"Still running: {workers}. Stop them too, or they wait until the servers are back."
            )


def _open_runs(url: str) -> str:
    """Return the open runs in words, empty if there are none or no tables of this version."""
    try:
        engine = connect(url)
        check_current(engine)
        return ", ".join(f"run {run.run_id} ({run.condition})" for run in open_runs(engine))
    except (DbError, SQLAlchemyError):  # nothing may keep a server from being stopped
        return ""


def _workers() -> str:
    # Imported here because it loads Celery, which the other commands of this module do not need.
    from mernet.worker.broker import broker_state

    try:
        return ", ".join(f"worker {name}" for name in broker_state().workers)
    except BrokerError:
        return ""
