"""The Celery application: queues, delivery rules and the sweep's timetable.

Redis only rings the bell: a message names a run and a chunk, and whatever is lost in Redis is sent
again by the sweep over the ledger.
"""

from collections.abc import Sequence

from celery import Celery, platforms
from celery.signals import beat_embedded_init, setup_logging, task_postrun, task_prerun
from kombu.entity import Exchange, Queue

from mernet.worker import logs
from mernet.worker.settings import Settings, settings

LISTING = "listing"
CLASSIFY = "classify"
SWEEP = "sweep"
QUEUES = (LISTING, CLASSIFY, SWEEP)
BROKER_TIMEOUT = 30.0
"""Seconds after which a broker that hangs counts as gone."""

SWEEP_TIME_LIMIT = 120
"""Seconds; a sweep that hangs would keep all others from their work."""


def schedule_intervals(config: Settings) -> dict[str, float]:
    """Seconds between two messages of the sweep, and where the settings say so of the ingest."""
    every = {"sweep": config.sweep_seconds, "ingest": config.ingest_seconds}
    return {name: seconds for name, seconds in every.items() if seconds is not None}


def schedule(config: Settings) -> dict[str, dict[str, object]]:
    """What beat sends, and when. A message that nobody fetched before the next one is dropped."""
    return {
        name: {"task": f"mernet.{name}", "schedule": seconds, "options": {"expires": seconds}}
        for name, seconds in schedule_intervals(config).items()
    }


def time_limits(config: Settings) -> dict[str, int]:
    """Longest time for each task, in seconds; then its process is ended."""
    return {
        "mernet.list_run": config.listing_time_limit,
        "mernet.classify_chunk": config.chunk_time_limit,
        "mernet.sweep": SWEEP_TIME_LIMIT,
        "mernet.ingest": config.listing_time_limit,
    }


def make_app(config: Settings) -> Celery:
    """The application for these settings; it connects to nothing yet."""
    app = Celery("mernet", broker=config.broker, include=["mernet.worker.tasks"])
    visibility = {"visibility_timeout": config.visibility_timeout}
    patience = {"socket_timeout": BROKER_TIMEOUT, "socket_connect_timeout": BROKER_TIMEOUT}
    app.conf.update(
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        # A message is gone only when its chunk is closed, also when its process was killed.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        # Celery reads the time-out from the broker's options, from the result backend's and, for
        # tasks with a countdown, from the setting of that name.
        broker_transport_options=visibility | patience,
        result_backend_transport_options=visibility,
        visibility_timeout=config.visibility_timeout,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # for ever: by itself it ends after an hour
        worker_cancel_long_running_tasks_on_connection_loss=False,
        task_default_queue=LISTING,
        task_queues=[Queue(name, Exchange(name), name) for name in QUEUES],
        task_routes={
            "mernet.classify_chunk": {"queue": CLASSIFY},
            "mernet.sweep": {"queue": SWEEP},
        },
        task_annotations={
            task: {"time_limit": seconds} for task, seconds in time_limits(config).items()
        },
        worker_direct=True,  # each has a queue of its own too, for health checks
        # What an operator sees in Flower.
        worker_send_task_events=True,
        task_track_started=True,
        worker_hijack_root_logger=False,
        timezone="UTC",
        beat_schedule=schedule(config),
    )
    return app


@beat_embedded_init.connect
def _end_with_the_worker(**_: object) -> None:
    """Let the timetable's process die when its worker is killed, as the pool's processes do."""
    platforms.set_pdeathsig("SIGKILL")


@setup_logging.connect
def _log_our_way(loglevel: int, **_: object) -> None:
    """Where this signal is heard, Celery leaves the log alone."""
    logs.configure(loglevel, settings().log_format)


@task_prerun.connect
def _log_about_the_task(args: Sequence[object], **_: object) -> None:
    """So that Celery's own lines about a task's end say its run and chunk too."""
    logs.now_about(**dict(zip(("run", "chunk"), args, strict=False)))


@task_postrun.connect
def _log_about_nothing(**_: object) -> None:
    logs.now_about()


app = make_app(settings())
