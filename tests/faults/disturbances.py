"""Everything that is broken on purpose: how to inflict it, how it ends, and what it may cost."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from enum import Enum

import psutil

from faults import flaky_archive
from faults.scene import Scene, Worker
from mernet.db import classifiers, ledger, thresholds
from mernet.db.errors import RunClosed
from mernet.model.classes import CODES

Random = random.Random
Inflict = Callable[[Scene, Random], AbstractContextManager[None]]
QUEUES = ("listing", "classify")


class Cost(Enum):
    """What a disturbance may cost; published results may never be lost or changed."""

    NOTHING = "nothing"
    A_PRODUCT = "a product may fail in this run; the next one classifies it"
    PRODUCTS = "products may fail in this run; the next one classifies them"
    THE_RUN = "the run may end as failed; the next one is complete"


@dataclass(frozen=True)
class Disturbance:
    """One kind of disturbance.

    Attributes:
        name: What happens, in a few words.
        group: What it happens to.
        inflict: A context manager: it begins the disturbance, and ends it with the block.
        seconds: The shortest and longest time it lasts.
        cost: What it may cost.
        is_early: Whether it begins before the run is listed.
        why_not: Returns why it cannot be inflicted here, None if it can.
    """

    name: str
    group: str
    inflict: Inflict
    seconds: tuple[float, float]
    cost: Cost
    is_early: bool
    why_not: Callable[[Scene], str | None]


ALL: dict[str, Disturbance] = {}


def _always(_: Scene) -> None:
    return None


def disturbance(
    name: str,
    group: str,
    seconds: tuple[float, float] = (0.0, 0.0),
    cost: Cost = Cost.NOTHING,
    is_early: bool = False,
    why_not: Callable[[Scene], str | None] = _always,
) -> Callable[[Callable[[Scene, Random], Iterator[None]]], Inflict]:
    """Register a generator that yields while the disturbance lasts."""

    def register(generate: Callable[[Scene, Random], Iterator[None]]) -> Inflict:
        inflict = contextmanager(generate)
        ALL[name] = Disturbance(name, group, inflict, seconds, cost, is_early, why_not)
        return inflict

    return register


# Processes


def _signal(processes: list[psutil.Process], number: int) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _child_gets(number: int) -> Callable[[Scene, Random], Iterator[None]]:
    def inflict(scene: Scene, random: Random) -> Iterator[None]:
        children = scene.children(random.choice(scene.workers))
        _signal(random.sample(children, min(1, len(children))), number)
        yield

    return inflict


def _worker_gets(number: int, times: int = 1) -> Callable[[Scene, Random], Iterator[None]]:
    def inflict(scene: Scene, random: Random) -> Iterator[None]:
        worker = random.choice(scene.workers)
        for _ in range(times):
            _signal([psutil.Process(worker.process.pid)], number)
            time.sleep(0.3)
        yield

    return inflict


def _stopped(choose: Callable[[Scene, Worker], list[psutil.Process]]):
    def inflict(scene: Scene, random: Random) -> Iterator[None]:
        stopped = choose(scene, random.choice(scene.workers))
        _signal(stopped, signal.SIGSTOP)
        yield
        _signal(stopped, signal.SIGCONT)

    return inflict


for _number in (signal.SIGKILL, signal.SIGTERM, signal.SIGQUIT):
    disturbance(f"{_number.name} to a child process", "processes")(_child_gets(_number))
    disturbance(f"{_number.name} to a worker", "processes")(_worker_gets(_number))
disturbance("SIGINT twice to a worker", "processes")(_worker_gets(signal.SIGINT, times=2))
disturbance("children stopped beyond their lease (SIGSTOP)", "processes", seconds=(4, 8))(
    _stopped(lambda scene, worker: scene.children(worker))
)
disturbance("worker stopped, its children run on (SIGSTOP)", "processes", seconds=(4, 8))(
    _stopped(lambda scene, worker: [psutil.Process(worker.process.pid)])
)
disturbance("worker and children stopped (SIGSTOP)", "processes", seconds=(4, 8))(
    _stopped(lambda scene, worker: [psutil.Process(worker.process.pid), *worker.family()])
)


@disturbance("scheduler killed, messages lost", "processes")
def scheduler_killed(scene: Scene, random: Random) -> Iterator[None]:
    _signal(scene.scheduler(), signal.SIGKILL)
    scene.redis.flushall()
    yield


@disturbance("scheduler stopped, messages lost", "processes", seconds=(4, 8))
def scheduler_stopped(scene: Scene, random: Random) -> Iterator[None]:
    stopped = scene.scheduler()
    _signal(stopped, signal.SIGSTOP)
    scene.redis.delete(*QUEUES)
    yield
    _signal(stopped, signal.SIGCONT)


@disturbance("lister stopped beyond its lease", "processes", seconds=(5, 8), is_early=True)
def lister_stopped(scene: Scene, random: Random) -> Iterator[None]:
    """The archive keeps the index back until the lister is stopped; then the other lists."""
    with scene.archive.behaving(_keep_index_back):
        scene.wait_until(lambda: bool(_lister(scene)), 15)
        stopped = _lister(scene)
        _signal(stopped, signal.SIGSTOP)
    yield
    _signal(stopped, signal.SIGCONT)


def _keep_index_back(request: flaky_archive.Request) -> None:
    while request.path.endswith(".tab") and request.archive.behaviour is _keep_index_back:
        time.sleep(0.1)
    flaky_archive.serve(request)


def _lister(scene: Scene) -> list[psutil.Process]:
    """The process that holds a connection to the archive."""
    port = int(scene.archive.url.rstrip("/").rpartition(":")[2])
    found = []
    for process in (each for worker in scene.workers for each in worker.family()):
        with suppress(psutil.Error):
            connections = process.net_connections("tcp")
            if any(each.raddr and each.raddr.port == port for each in connections):
                found.append(process)
    return found


# Redis


def _kill_redis(scene: Scene) -> None:
    server = scene.redis_server()
    server.kill()
    psutil.wait_procs([server], timeout=10)


@disturbance("Redis killed, its data kept", "Redis", seconds=(0, 5))
def redis_killed(scene: Scene, random: Random) -> Iterator[None]:
    _kill_redis(scene)
    yield
    scene.start_servers_again()


@disturbance("Redis killed, its data lost", "Redis", seconds=(0, 5))
def redis_lost(scene: Scene, random: Random) -> Iterator[None]:
    _kill_redis(scene)
    for path in (scene.data / "redis").glob("appendonlydir*"):
        shutil.rmtree(path)
    (scene.data / "redis" / "dump.rdb").unlink(missing_ok=True)
    yield
    scene.start_servers_again()


@disturbance("Redis flushed", "Redis")
def redis_flushed(scene: Scene, random: Random) -> Iterator[None]:
    scene.redis.flushall()
    yield


@disturbance("Redis paused (SIGSTOP)", "Redis", seconds=(2, 8))
def redis_paused(scene: Scene, random: Random) -> Iterator[None]:
    server = scene.redis_server()
    server.suspend()
    yield
    server.resume()


@disturbance("Redis full (maxmemory), later raised", "Redis", seconds=(2, 6))
def redis_full(scene: Scene, random: Random) -> Iterator[None]:
    scene.redis.config_set("maxmemory", "1")
    yield
    scene.redis.config_set("maxmemory", "0")


# Messages


def _messages(scene: Scene) -> list[tuple[str, bytes]]:
    return [(queue, body) for queue in QUEUES for body in scene.redis.lrange(queue, 0, -1)]


@disturbance("messages doubled", "messages", seconds=(0, 2))
def messages_doubled(scene: Scene, random: Random) -> Iterator[None]:
    for queue, body in _messages(scene):
        for _ in range(random.randint(1, 3)):
            scene.redis.rpush(queue, body)
    yield


@disturbance("listing message four times", "messages", is_early=True)
def listing_doubled(scene: Scene, random: Random) -> Iterator[None]:
    for run_id, _ in scene.open_runs():
        for _ in range(4):
            scene.send("mernet.list_run", run_id)
    yield


@disturbance("messages dropped", "messages")
def messages_dropped(scene: Scene, random: Random) -> Iterator[None]:
    scene.redis.delete(*QUEUES, "unacked", "unacked_index")
    yield


@disturbance("messages reordered", "messages")
def messages_reordered(scene: Scene, random: Random) -> Iterator[None]:
    for queue in QUEUES:
        bodies = scene.redis.lrange(queue, 0, -1)
        random.shuffle(bodies)
        scene.redis.delete(queue)
        for body in bodies:
            scene.redis.rpush(queue, body)
    yield


def _malformed(scene: Scene) -> list[bytes]:
    """Messages that no program of ours sends; the worker is to set them aside."""
    sent = [body for _, body in _messages(scene)]
    whole = json.loads(sent[0]) if sent else {"headers": {}, "properties": {}, "body": ""}
    changes = (
        {"body": "e30="},
        {"body": "not base64!"},
        {"content-encoding": "no such encoding"},
        {"content-type": "application/x-python-serialize"},
        {"properties": {}},
        {"headers": None},
    )
    return [b"{}", b"[]", b"not JSON", b"\xff\x00"] + [
        json.dumps(whole | change).encode() for change in changes
    ]


@disturbance("messages malformed", "messages", seconds=(0, 1))
def messages_malformed(scene: Scene, random: Random) -> Iterator[None]:
    for body in random.sample(_malformed(scene), 4):
        scene.redis.rpush(random.choice(QUEUES), body)
    yield


@disturbance("messages with strange tasks and numbers", "messages", seconds=(0, 1))
def messages_strange(scene: Scene, random: Random) -> Iterator[None]:
    scene.send("mernet.no_such_task", 1)
    scene.send("mernet.classify_chunk")
    scene.send("mernet.classify_chunk", 2**70, -1)
    scene.send("mernet.classify_chunk", "one", None)
    scene.send("mernet.list_run", {"a": 1})
    yield


# Postgres


def _no_small_disk(scene: Scene) -> str | None:
    return None if scene.has_own_disk else "needs root, to mount a small disk"


@disturbance("Postgres connections terminated", "Postgres", seconds=(0, 3))
def connections_terminated(scene: Scene, random: Random) -> Iterator[None]:
    for _ in range(random.randint(1, 5)):
        scene.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'mernet'"
        )
        time.sleep(0.2)
    yield


@disturbance("Postgres backend killed (SIGKILL)", "Postgres")
def backend_killed(scene: Scene, random: Random) -> Iterator[None]:
    found = scene.rows("SELECT pid FROM pg_stat_activity WHERE application_name = 'mernet'")
    if found:
        with suppress(ProcessLookupError):
            os.kill(random.choice(found)[0], signal.SIGKILL)
    yield


@disturbance("postmaster killed, started again at once", "Postgres")
def postmaster_killed(scene: Scene, random: Random) -> Iterator[None]:
    scene.postmaster().kill()
    yield
    scene.start_servers()


@disturbance("postmaster killed, started again later", "Postgres", seconds=(2, 6))
def postmaster_away(scene: Scene, random: Random) -> Iterator[None]:
    postmaster = scene.postmaster()
    _signal([*postmaster.children(recursive=True), postmaster], signal.SIGKILL)
    yield
    scene.start_servers_again()


@disturbance("servers stopped and started", "Postgres", seconds=(0, 4))
def servers_stopped(scene: Scene, random: Random) -> Iterator[None]:
    scene.command("services", "stop")
    yield
    scene.start_servers_again()


@disturbance("Postgres stands still (SIGSTOP)", "Postgres", seconds=(3, 8))
def postgres_stopped(scene: Scene, random: Random) -> Iterator[None]:
    postmaster = scene.postmaster()
    stopped = [postmaster, *postmaster.children(recursive=True)]
    _signal(stopped, signal.SIGSTOP)
    yield
    _signal(stopped, signal.SIGCONT)


@disturbance("deadlock and serialization errors", "Postgres", seconds=(1, 5))
def errors_raised(scene: Scene, random: Random) -> Iterator[None]:
    """The server raises them in a third of the statements, as it does under load."""
    tables = ("outcome", "chunk")
    scene.execute("""
        CREATE OR REPLACE FUNCTION fail_sometimes() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF random() < 0.15 THEN RAISE 'made deadlock' USING ERRCODE = '40P01'; END IF;
            IF random() < 0.15 THEN RAISE 'made failure' USING ERRCODE = '40001'; END IF;
            RETURN NULL;
        END $$""")
    for table in tables:
        scene.execute(
            f"CREATE TRIGGER fail_sometimes AFTER INSERT OR UPDATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION fail_sometimes()"
        )
    yield
    for table in tables:
        scene.execute(f"DROP TRIGGER fail_sometimes ON {table}")


@disturbance("rows locked by another program", "Postgres", seconds=(1, 5))
def rows_locked(scene: Scene, random: Random) -> Iterator[None]:
    """Its locks are taken in the opposite order of ours: the server ends the deadlocks."""
    with scene.engine.connect() as connection:
        connection.exec_driver_sql("SET deadlock_timeout = '30s'")  # so that it is never the victim
        connection.exec_driver_sql("SET idle_in_transaction_session_timeout = 0")
        connection.commit()
        with connection.begin():
            rows = "SELECT FROM outcome ORDER BY product_id DESC LIMIT 10 FOR UPDATE"
            connection.exec_driver_sql(rows)
            connection.exec_driver_sql("SELECT FROM chunk ORDER BY number DESC LIMIT 2 FOR UPDATE")
            yield


@disturbance("disk full", "Postgres", seconds=(2, 5), why_not=_no_small_disk)
def disk_full(scene: Scene, random: Random) -> Iterator[None]:
    ballast = scene.data / "ballast"
    with ballast.open("wb") as file, suppress(OSError):
        while True:
            file.write(bytes(2**16))
            file.flush()
    yield
    ballast.unlink()
    scene.start_servers_again()


# Network


@disturbance("connections of a host cut", "network", seconds=(0, 3))
def connections_cut(scene: Scene, random: Random) -> Iterator[None]:
    for _ in range(random.randint(1, 4)):
        for link in random.sample(scene.links, random.randint(1, 2)):
            link.cut()
        time.sleep(0.3)
    yield


@disturbance("host without network, reconnected", "network", seconds=(4, 10))
def host_cut_off(scene: Scene, random: Random) -> Iterator[None]:
    for link in scene.links:
        link.is_silent = True
    yield
    for link in scene.links:
        link.is_silent = False


@disturbance("clock of a host ahead or behind", "network", seconds=(3, 6))
def clock_skew(scene: Scene, random: Random) -> Iterator[None]:
    """The worker with the scheduler is started again with another time."""
    shift = random.choice((-3600, -60, 60, 3600))
    scene.near.stop()
    scene.near.start(FAULTS_CLOCK_SHIFT=str(shift))
    scene.redis.delete(*QUEUES)
    yield
    # The run has to end before the host gets the right time again.
    has_ended = scene.wait_for_the_end(45)
    scene.near.stop()
    scene.near.start()
    assert has_ended, f"the run does not end while a clock is {shift:+d} s wrong"


# Archive


def _archive_is(behaviour: flaky_archive.Behaviour) -> Callable[[Scene, Random], Iterator[None]]:
    def inflict(scene: Scene, random: Random) -> Iterator[None]:
        with scene.archive.behaving(behaviour):
            yield

    return inflict


for _name, _behaviour, _cost in (
    ("answers 503", flaky_archive.busy(503), Cost.NOTHING),
    ("answers 429 with Retry-After", flaky_archive.busy(429, Retry_After="1"), Cost.NOTHING),
    ("answers 500", flaky_archive.busy(500), Cost.NOTHING),
    ("cuts bodies", flaky_archive.cut, Cost.NOTHING),
    ("drips", flaky_archive.drip, Cost.NOTHING),
    ("hangs up", flaky_archive.hang_up, Cost.NOTHING),
    ("states too short lengths", flaky_archive.short_length, Cost.PRODUCTS),
    ("answers with a page of HTML", flaky_archive.html, Cost.PRODUCTS),
    ("redirects in a circle", flaky_archive.redirect_in_a_circle, Cost.PRODUCTS),
    ("redirects elsewhere", flaky_archive.redirect_elsewhere, Cost.PRODUCTS),
):
    disturbance(f"archive {_name}", "archive", (2, 20), _cost)(_archive_is(_behaviour))

disturbance(
    "index half as long while it is listed", "archive", (2, 4), Cost.THE_RUN, is_early=True
)(_archive_is(flaky_archive.changing_index))
disturbance(
    "index answered with HTML while it is listed", "archive", (2, 4), Cost.THE_RUN, is_early=True
)(_archive_is(flaky_archive.html))


@disturbance("archive refuses connections", "archive", seconds=(2, 20))
def archive_away(scene: Scene, random: Random) -> Iterator[None]:
    with scene.archive.away():
        yield


# Products and checkpoints


def _switched_on(name: str) -> Callable[[Scene, Random], Iterator[None]]:
    def inflict(scene: Scene, random: Random) -> Iterator[None]:
        products = [row[0] for row in scene.rows("SELECT product_id FROM product ORDER BY 1")]
        switch = scene.switches / name
        switch.write_text(random.choice(products))
        yield
        has_ended = scene.wait_for_the_end(90)  # a chunk is split until the product is found
        switch.unlink()
        assert has_ended, "the run does not end"

    return inflict


disturbance("product that kills its process", "products", (0, 0), Cost.A_PRODUCT)(
    _switched_on("poison")
)
disturbance("product that eats memory", "products", (0, 0), Cost.A_PRODUCT)(_switched_on("memory"))


@disturbance("checkpoint file away for a moment", "products", seconds=(2, 6))
def checkpoint_away(scene: Scene, random: Random) -> Iterator[None]:
    """The children are started again meanwhile, so that they have to load it."""
    folder = scene.data / "checkpoints"
    folder.rename(scene.data / "elsewhere")
    for worker in scene.workers:
        _signal(scene.children(worker), signal.SIGKILL)
    yield
    if folder.exists():
        shutil.rmtree(folder)
    (scene.data / "elsewhere").rename(folder)


# Runs


@disturbance("overlapping runs", "runs")
def overlapping_runs(scene: Scene, random: Random) -> Iterator[None]:
    for _ in range(random.randint(1, 2)):
        scene.queue_run(reclassify=random.random() < 0.5)
    yield


@disturbance("promotion in mid-run", "runs", seconds=(0, 2))
def promotion(scene: Scene, random: Random) -> Iterator[None]:
    classifiers.promote(scene.engine, "second")
    yield
    classifiers.promote(scene.engine, "first")


@disturbance("thresholds changed in mid-run", "runs", seconds=(0, 2))
def thresholds_changed(scene: Scene, random: Random) -> Iterator[None]:
    changed = random.sample(CODES, 5)
    for code in changed:
        thresholds.set_threshold(scene.engine, code, round(random.uniform(0.05, 0.95), 2), "first")
    yield
    for code in changed:
        thresholds.set_threshold(scene.engine, code, 0.9, "first")


@disturbance("run paused and resumed", "runs", seconds=(1, 5))
def paused(scene: Scene, random: Random) -> Iterator[None]:
    run_ids = [run_id for run_id, _ in scene.open_runs()]
    for run_id in run_ids:
        with suppress(RunClosed):
            ledger.pause_run(scene.engine, run_id)
    yield
    for run_id in run_ids:
        with suppress(RunClosed):
            ledger.resume_run(scene.engine, run_id)
