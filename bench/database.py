"""A database for measurements: given by its URL, or embedded in a temporary folder."""

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import sqlalchemy as sa

from bench.recording import add_rows, cpu_name, option_parser
from mernet.db import classifiers, migrate
from mernet.db.engine import connect
from mernet.worker.embedded import EmbeddedPostgres


def database_option_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that every measurement of a database has."""
    parser = option_parser(description)
    parser.add_argument(
        "--database-url",
        metavar="URL",
        help="measure this empty Postgres database (default: an embedded Postgres in a temporary "
        "folder)",
    )
    return parser


@contextmanager
def fresh_database(url: str | None) -> Iterator[sa.Engine]:
    """Yield an engine for a database that has tables and a current classifier named `bench`.

    Args:
        url: An empty database; None for an embedded Postgres that is deleted afterwards.
    """
    with ExitStack() as stack:
        engine = connect(url or stack.enter_context(_embedded()))
        stack.callback(engine.dispose)
        migrate.upgrade(engine)
        classifiers.add(engine, classifiers.NewClassifier("b" * 64, "bench", "/nowhere", 0.9, {}))
        classifiers.promote(engine, "bench")
        yield engine


def add_row(engine: sa.Engine, path: Path, row: Mapping[str, object]) -> None:
    """Add a row to a result file, with the version of the server that was measured."""
    with engine.connect() as connection:
        server = connection.exec_driver_sql("SHOW server_version").scalar_one()
    add_rows(path, [row], cpu_name(), {"postgres": server.split()[0]})


@contextmanager
def _embedded() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="mernet-bench-") as folder:
        server = EmbeddedPostgres(Path(folder))
        yield server.start()
        server.stop()
