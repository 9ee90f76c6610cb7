"""The Celery tasks: each calls a module that does not use Celery, and returns a summary.

What a task needs is created in the child process at its first task, never in the parent: a process
that has run a threaded torch operation must not fork. Sweeps and probes, which run every minute or
more often, send no events, because in Flower they would hide the chunks.
"""

import logging
from functools import cache

import sqlalchemy as sa
from celery import Task

from mernet.db import ledger
from mernet.db.engine import connect
from mernet.db.errors import DbError
from mernet.db.ledger import NewRun
from mernet.pds.errors import PdsError
from mernet.pds.fetch import Fetcher
from mernet.worker.app import app
from mernet.worker.archive_hosts import HostRules
from mernet.worker.checkpoints import load_registered_classifier
from mernet.worker.errors import WorkerError
from mernet.worker.fetcher import create_fetcher
from mernet.worker.ingest import ingest
from mernet.worker.listing import record_products
from mernet.worker.pipeline import ImageClassifier, Pipeline
from mernet.worker.sending import send_chunks
from mernet.worker.settings import settings
from mernet.worker.sweep import resend_stalled

log = logging.getLogger(__name__)

EXPECTED_ERRORS = (PdsError, DbError, WorkerError)
"""Errors whose message says what is wrong, so that no traceback is needed."""

_loaded: dict[str, ImageClassifier] = {}


@app.task(bind=True, name="mernet.list_run")
def list_run(self: Task, run_id: int) -> str:
    """List the products of a run in the ledger and send its chunks."""
    result = record_products(
        _engine(), run_id, self.request.id, _fetcher(), settings().lease_seconds, _rules()
    )
    send_chunks(_engine(), run_id, result.chunks_to_send)
    return result.summary


@app.task(bind=True, name="mernet.classify_chunk")
def classify_chunk(self: Task, run_id: int, number: int) -> str:
    """Classify and publish one chunk of a run."""
    result = _pipeline().work_on(run_id, number, self.request.id)
    send_chunks(_engine(), run_id, result.chunks_to_send)
    return result.summary


@app.task(name="mernet.sweep", send_events=False)
def sweep() -> str:
    """Send the messages of stalled work again."""
    sent = resend_stalled(_engine(), settings().lease_seconds)
    return f"{sent} messages sent again" if sent else "nothing to send"


@app.task(name="mernet.ingest", throws=EXPECTED_ERRORS)
def ingest_new() -> str:
    """Create a run over the new products of the archives in the settings.

    Celery logs an error that a task declares in `throws` at level INFO only. A scheduled ingest has
    no user who would see it fail, so the error is logged at level ERROR here. If only some of the
    archives could not be listed, that is a warning.
    """
    try:
        return _ingest_new()
    except EXPECTED_ERRORS as error:
        log.error("ingest failed: %s", error)
        raise


def _ingest_new() -> str:
    config = settings()
    wanted = NewRun(
        archives=config.ingest_archives,
        mirror=config.ingest_mirror,
        products=config.ingest_products,
        chunk_size=config.chunk_size,
    )
    report = ingest(_engine(), wanted, _fetcher(), rules=_rules())
    if report.run is not None:
        send_chunks(_engine(), report.run.run_id, ledger.unsent(_engine(), report.run.run_id))
    if report.failure:
        log.warning("%s", report.failure)
        return f"{report.sentence} {report.failure}"
    return report.sentence


@app.task(name="mernet.probe", send_events=False)
def probe() -> str:
    """Do nothing: a health check only needs to see that a worker received the message."""
    return "alive"


@cache
def _engine() -> sa.Engine:
    return connect(settings().database)


@cache
def _fetcher() -> Fetcher:
    return create_fetcher(settings())


def _rules() -> HostRules:
    return HostRules.from_settings(settings())


@cache
def _pipeline() -> Pipeline:
    config = settings()
    return Pipeline(
        engine=_engine(),
        source=_fetcher(),
        load_classifier=_load_classifier,
        threads=config.fetch_threads,
        lease_seconds=config.lease_seconds,
        max_attempts=config.chunk_attempts,
        rules=_rules(),
    )


def _load_classifier(sha256: str) -> ImageClassifier:
    """Return the classifier with this sha256; it stays loaded until another one is needed."""
    if sha256 not in _loaded:
        _loaded.clear()  # a GPU may not have memory for two
        _loaded[sha256] = load_registered_classifier(_engine(), sha256, settings(), _processes())
    return _loaded[sha256]


def _processes() -> int:
    return app.conf.worker_concurrency or 1
