"""A database for measurements, given by URL or embedded and thrown away; and where results go."""

import csv
import os
import platform
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from mernet.db import classifiers, migrate
from mernet.db.engine import connect
from mernet.worker.embedded import EmbeddedPostgres

RESULTS = Path(__file__).parent / "results"


@contextmanager
def fresh_database(urls: Sequence[str]) -> Iterator[sa.Engine]:
    """An engine for a database with tables and a current classifier, at `urls` or embedded."""
    with ExitStack() as stack:
        engine = connect(urls[0] if urls else stack.enter_context(_embedded()))
        stack.callback(engine.dispose)
        migrate.upgrade(engine)
        classifiers.add(engine, classifiers.NewClassifier("b" * 64, "bench", "/nowhere", 0.9, {}))
        classifiers.promote(engine, "bench")
        yield engine


def keep(engine: sa.Engine, name: str, measured: dict[str, object]) -> None:
    """Print a result and add it, with the machine it is from, to bench/results/`name`.csv."""
    with engine.connect() as connection:
        server = connection.exec_driver_sql("SHOW server_version").scalar_one()
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "postgres": server.split()[0],
        **measured,
    }
    path = RESULTS / f"{name}.csv"
    is_new = not path.exists()
    RESULTS.mkdir(exist_ok=True)
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, result, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(result)
    print(result)


@contextmanager
def _embedded() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder))
        yield server.start()
        server.stop()
