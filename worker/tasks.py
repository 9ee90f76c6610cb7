"""The Celery tasks: each calls a module that does not use Celery, and returns a summary.

What a task needs is created in the child process at its first task, never in the parent: a process
that has run a threaded torch operation must not fork. Probes, which run every minute or more
often, send no events, because in Flower they would hide the chunks.
"""

import logging
import os
from collections.abc import Sequence
from functools import cache

import sqlalchemy as sa
from celery import Task

from mernet.db import ledger
from mernet.db.engine import connect
from mernet.db.errors import ConnectionFailed, DbError, LockHeld, LockLost
from mernet.db.ledger import NewRun
from mernet.db.obstacles import let_ingest_wait
from mernet.pds.errors import PdsError
from mernet.pds.fetch import Fetcher
from mernet.worker.app import QueueName, app
from mernet.worker.archive_hosts import HostRules
from mernet.worker.broker import is_waiting
from mernet.worker.checkpoints import load_registered_classifier
from mernet.worker.errors import ArchivesNotListed, BrokerError, MustWait, WorkerError
from mernet.worker.faults import fault_of
from mernet.worker.faults import report as report_fault
from mernet.worker.fetcher import create_fetcher
from mernet.worker.held_lock import keep_lock
from mernet.worker.ingest import IngestReport, ingest
from mernet.worker.listing import record_products
from mernet.worker.pipeline import ImageClassifier, Pipeline
from mernet.worker.process_name import process_name
from mernet.worker.scheduler import INGEST_RETRY_SECONDS, SCHEDULED_INGEST
from mernet.worker.sending import send_chunks
from mernet.worker.settings import settings

log = logging.getLogger(__name__)

EXPECTED_ERRORS = (PdsError, DbError, WorkerError)
"""Errors whose message says what is wrong, so that no traceback is needed."""

_loaded: dict[str, ImageClassifier] = {}


@app.task(bind=True, name="mernet.list_run", throws=EXPECTED_ERRORS)
def list_run(self: Task, run_id: int) -> str:
    """List the products of a run in the ledger and send its first chunks."""
    claimant = process_name(self.request.id)
    try:
        result = record_products(
            _engine(), run_id, claimant, _fetcher(), settings().lease_seconds, _rules()
        )
    except EXPECTED_ERRORS as error:
        log.error("run %d cannot be listed: %s", run_id, error)
        raise
    _send_chunks(run_id)
    return result.summary


@app.task(bind=True, name="mernet.classify_chunk")
def classify_chunk(self: Task, run_id: int, number: int) -> str:
    """Classify and publish one chunk of a run.

    The message that this one makes room for is sent first, so that the other processes have work.
    """
    _send_chunks(run_id)
    result = _pipeline().work_on(run_id, number, process_name(self.request.id))
    _send_chunks(run_id)  # a chunk that was split has two new ones
    return result.summary


@app.task(name="mernet.ingest", throws=EXPECTED_ERRORS)
def ingest_new() -> str:
    """Create a run over the new products of the archives in the settings, if that is due.

    Celery logs an error that a task declares in `throws` at level INFO only. A scheduled ingest has
    no user who would see it fail, so the error is logged at level ERROR here. If only some of the
    archives could not be listed, that is a warning.
    """
    holder = process_name("ingest")
    try:
        if not ledger.start_if_due(
            _engine(),
            SCHEDULED_INGEST,
            holder,
            settings().ingest_seconds or 0,
            settings().lease_seconds,
            INGEST_RETRY_SECONDS,
        ):
            return "nothing to do: the ingest is not due, or runs already"
        with keep_lock(_engine(), SCHEDULED_INGEST, holder):
            return _ingest_and_plan_next(holder)
    except EXPECTED_ERRORS as error:
        log.error("ingest failed: %s", error)
        raise


def _ingest_and_plan_next(holder: str) -> str:
    """Ingest, and plan the next one: at its interval, or at the next try of what it waits for.

    An ingest that was interrupted, or that found another one or no database, is due again after
    `INGEST_RETRY_SECONDS`, as `start_if_due` has planned.
    """
    try:
        report = _ingest_new()
    except (LockHeld, LockLost, ConnectionFailed):
        raise
    except ArchivesNotListed as error:
        _plan_next_ingest(holder, error.waits)
        raise
    except Exception as error:
        fault = fault_of(error, _engine())
        if fault is None:  # whatever it is, the same at once would fail the same way
            _plan_next_ingest(holder, ())
            raise
        wait = MustWait(fault.kind, fault.subject, report_fault(_engine(), fault))
        _plan_next_ingest(holder, (wait,))
        raise ArchivesNotListed(fault.reason, waits=(wait,)) from None
    _plan_next_ingest(holder, report.not_listed.waits if report.not_listed else ())
    if report.failure:
        log.warning("%s", report.failure)
        return f"{report.sentence} {report.failure}"
    return report.sentence


def _plan_next_ingest(holder: str, waits: Sequence[MustWait]) -> None:
    seconds = min((each.seconds for each in waits), default=None)
    ledger.plan_start(_engine(), SCHEDULED_INGEST, holder, seconds)
    let_ingest_wait(_engine(), [(each.kind, each.subject) for each in waits])


def _ingest_new() -> IngestReport:
    config = settings()
    wanted = NewRun(
        archives=config.ingest_archives,
        mirror=config.ingest_mirror,
        products=config.ingest_products,
        chunk_size=config.chunk_size,
    )
    report = ingest(_engine(), wanted, _fetcher(), rules=_rules(), is_scheduled=True)
    if report.run is not None:
        _send_chunks(report.run.run_id)
    return report


@app.task(name="mernet.probe", send_events=False)
def probe() -> str:
    """Do nothing: a health check only needs to see that a worker received the message."""
    return "alive"


def _send_chunks(run_id: int) -> None:
    """Send the run's next chunks; if the broker does not take them, the sweep does so later."""
    try:
        send_chunks(_engine(), run_id)
    except BrokerError as error:
        log.warning("the next chunks of run %d are sent later: %s", run_id, error)


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
        replace_process=_replace_process,
        is_other_work_waiting=_is_listing_waiting,
    )


def _is_listing_waiting() -> bool:
    """Return whether a run waits to be listed, if this worker lists runs at all."""
    return QueueName.LISTING in app.amqp.queues.consume_from and is_waiting(QueueName.LISTING)


def _replace_process() -> None:
    """End this process at once; Celery starts another, and delivers the message again."""
    os._exit(1)


def _load_classifier(sha256: str) -> ImageClassifier:
    """Return the classifier with this sha256; it stays loaded until another one is needed."""
    if sha256 not in _loaded:
        _loaded.clear()  # a GPU may not have memory for two
        _loaded[sha256] = load_registered_classifier(_engine(), sha256, settings(), _processes())
    return _loaded[sha256]


def _processes() -> int:
    return app.conf.worker_concurrency or 1
