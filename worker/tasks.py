"""The Celery tasks: thin, each hands over to a module that knows no Celery.

What a child process needs is made at its first task, never in the parent: a process that has run a
threaded torch operation must not fork.
"""

from functools import cache

import sqlalchemy as sa
from celery import Task

from db import ledger
from db.engine import connect
from db.errors import DbError
from db.ledger import NewRun
from model.errors import ModelError
from pds.errors import PdsError
from pds.fetch import Fetcher
from worker.app import app
from worker.checkpoints import load_classifier
from worker.errors import CheckpointUnusable
from worker.fetching import make_fetcher
from worker.ingest import ingest
from worker.listing import record_products
from worker.messages import send_again, send_chunks
from worker.pipeline import ImageClassifier, Pipeline
from worker.settings import settings

SWEEP_TIME_LIMIT = 120
"""Seconds; a sweep that hangs would keep all others from their work."""

_loaded: dict[str, ImageClassifier] = {}


@app.task(bind=True, name="mernet.list_run", time_limit=settings().listing_time_limit)
def list_run(self: Task, run_id: int) -> None:
    """List the products of a run in the ledger and send its chunks."""
    numbers = record_products(
        _engine(), run_id, self.request.id, _fetcher(), settings().lease_seconds
    )
    send_chunks(_engine(), run_id, numbers)


@app.task(bind=True, name="mernet.classify_chunk", time_limit=settings().chunk_time_limit)
def classify_chunk(self: Task, run_id: int, number: int) -> None:
    """Classify and publish one chunk of a run."""
    try:
        send_chunks(_engine(), run_id, _pipeline().work_on(run_id, number, self.request.id))
    except (CheckpointUnusable, ModelError) as error:
        # No fault of the images: on this machine every chunk would end so.
        ledger.fail_run(_engine(), run_id, str(error))
        raise


@app.task(name="mernet.sweep", time_limit=SWEEP_TIME_LIMIT)
def sweep() -> None:
    """Send again what has not moved."""
    send_again(_engine(), settings().lease_seconds)


@app.task(
    name="mernet.ingest", time_limit=settings().listing_time_limit, throws=(PdsError, DbError)
)
def ingest_new() -> None:
    """Make a run of what the archives of the settings have new."""
    config = settings()
    wanted = NewRun(
        archives=config.ingest_archives,
        mirror=config.ingest_mirror,
        products=config.ingest_products,
        chunk_size=config.chunk_size,
    )
    run = ingest(_engine(), wanted, _fetcher()).run
    if run is not None:
        send_chunks(_engine(), run.run_id, ledger.unsent(_engine(), run.run_id))


@cache
def _engine() -> sa.Engine:
    return connect(settings().database)


@cache
def _fetcher() -> Fetcher:
    return make_fetcher(settings(), _processes())


@cache
def _pipeline() -> Pipeline:
    config = settings()
    return Pipeline(
        engine=_engine(),
        source=_fetcher(),
        classifier=_classifier,
        threads=config.fetch_threads,
        lease_seconds=config.lease_seconds,
        max_attempts=config.chunk_attempts,
    )


def _classifier(sha256: str) -> ImageClassifier:
    if sha256 not in _loaded:
        _loaded.clear()  # two would not always fit on a GPU
        _loaded[sha256] = load_classifier(_engine(), sha256, settings(), _processes())
    return _loaded[sha256]


def _processes() -> int:
    return app.conf.worker_concurrency or 1
