"""A database for measurements: given by URL and empty, or embedded and thrown away."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import sqlalchemy as sa

from db import classifiers, migrate
from db.engine import connect
from demo.services import EmbeddedPostgres


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


@contextmanager
def _embedded() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder))
        yield server.start()
        server.stop()
