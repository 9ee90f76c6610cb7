"""The Celery application: its queues and delivery rules.

Redis is only the task queue: a message names a run and a chunk. Whatever is lost in Redis is sent
again by the sweep, which reads the ledger.
"""

import ssl
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

from celery import Celery
from celery.loaders.app import AppLoader
from celery.signals import setup_logging, task_postrun, task_prerun
from kombu.entity import Exchange, Queue

from mernet.worker import logs, transport
from mernet.worker.settings import Settings, settings


class QueueName(StrEnum):
    """The task queues: listing and ingest, and classifying chunks."""

    LISTING = "listing"
    CLASSIFY = "classify"


LISTING, CLASSIFY = QueueName
QUEUES: tuple[str, ...] = tuple(QueueName)
BROKER_TIMEOUT = 30.0
"""Seconds without an answer after which a connection to the broker counts as lost."""


class InstalledModulesLoader(AppLoader):  # type: ignore[misc]  # Celery has no types
    """Imports task modules like any other module.

    Celery's own loader puts the working folder first on the module search path while it imports
    them, so a file `redis.py` there would be imported in place of the library.
    """

    def import_from_cwd(
        self, module: str, imp: Callable[..., Any] | None = None, package: str | None = None
    ) -> Any:
        """Import a module from the module search path as it is, despite Celery's name for this."""
        return (imp or self.import_module)(module, package=package)


def time_limits(config: Settings) -> dict[str, int]:
    """Return the longest time for each task in seconds, after which its process is killed."""
    return {
        "mernet.list_run": config.listing_time_limit,
        "mernet.classify_chunk": config.chunk_time_limit,
        "mernet.ingest": config.listing_time_limit,
    }


def encryption(config: Settings) -> dict[str, object] | None:
    """Return what a connection to Redis over TLS checks; None if it is not encrypted."""
    if not config.broker.startswith("rediss://"):
        return None
    authorities = config.broker_ca_file and str(config.broker_ca_file)
    return {
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
        "ssl_check_hostname": True,
        "ssl_ca_certs": authorities,  # None: those of the system
    }


def make_app(config: Settings) -> Celery:
    """Create the application for these settings. It does not connect to the broker yet."""
    app = Celery(
        "mernet",
        broker=config.broker,
        include=["mernet.worker.tasks"],
        loader=InstalledModulesLoader,
        broker_use_ssl=encryption(config),
    )
    visibility = {"visibility_timeout": config.visibility_timeout}
    timeouts = {"socket_timeout": BROKER_TIMEOUT, "socket_connect_timeout": BROKER_TIMEOUT}
    app.conf.update(
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        # A message is removed only after its chunk is closed, even if its process was killed.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        # Celery reads the time-out from the broker's options, from the result backend's and, for
        # tasks with a countdown, from the setting of that name.
        broker_transport_options=visibility | timeouts,
        result_backend_transport_options=visibility,
        visibility_timeout=config.visibility_timeout,
        broker_connection_retry_on_startup=True,
        broker_channel_error_retry=True,  # Redis without free memory answers with such errors
        broker_connection_max_retries=None,  # forever: Celery's default gives up after an hour
        worker_cancel_long_running_tasks_on_connection_loss=False,
        task_default_queue=LISTING,
        task_queues=[Queue(name, Exchange(name), name) for name in QUEUES],
        task_routes={"mernet.classify_chunk": {"queue": CLASSIFY}},
        task_annotations={
            task: {"time_limit": seconds} for task, seconds in time_limits(config).items()
        },
        worker_consumer="mernet.worker.consumer:Consumer",
        worker_direct=True,  # each worker also has a queue of its own, for health checks
        # What Flower shows to an operator.
        worker_send_task_events=True,
        task_track_started=True,
        worker_hijack_root_logger=False,
        timezone="UTC",
    )
    return app


@setup_logging.connect
def _configure_logging(loglevel: int, **_: object) -> None:
    """Configure the service's log; because this signal has a receiver, Celery leaves it alone."""
    logs.configure(loglevel, settings().log_format)


@task_prerun.connect
def _add_task_to_log_lines(args: Sequence[object], **_: object) -> None:
    """Name run and chunk in all lines about a task, Celery's own about its end included."""
    logs.set_log_context(**dict(zip(("run", "chunk"), args, strict=False)))


@task_postrun.connect
def _remove_task_from_log_lines(**_: object) -> None:
    logs.set_log_context()


transport.use_for_redis()
app = make_app(settings())
