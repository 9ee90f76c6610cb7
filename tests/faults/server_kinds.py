"""Disturbances of Redis, of messages, of Postgres, and of the network between hosts."""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil
import redis
import sqlalchemy as sa

from faults.kinds import Generate, Random, Strikes, also, disturbance, require
from faults.process_kinds import is_alive, send_signal, stop
from faults.scene import QUEUES, Scene
from mernet.db.engine import sqlstate

KEPT = "mernet.set-aside"
UNACKED = ("unacked", "unacked_index")
MARK = "faults.mark"
DISK_FULL = "53100"
LONGER_THAN_RETRIES = 40.0
"""Seconds; the engine repeats a transaction for about twenty."""


# Redis


def _kill_redis(scene: Scene) -> None:
    """Kill Redis, and leave a mark in its data by which can be seen whether it kept them."""
    scene.redis.set(MARK, 1)
    server = scene.redis_server()
    server.kill()
    psutil.wait_procs([server], timeout=10)
    require(not _redis_answers(scene), "Redis answers")


def _redis_answers(scene: Scene) -> bool:
    with (
        suppress(redis.RedisError),
        redis.Redis(
            unix_socket_path=str(scene.data / "redis" / "redis.sock"), socket_timeout=1, retry=None
        ) as client,
    ):
        return bool(client.ping())
    return False


def _redis_killed() -> Generate:
    def inflict(scene: Scene, random: Random) -> Iterator[None]:
        _kill_redis(scene)
        yield
        scene.start_servers_again()
        require(scene.redis.delete(MARK), "Redis has lost its data")

    return inflict


disturbance("Redis killed, its data kept", "Redis", seconds=(0, 4))(_redis_killed())


@disturbance("Redis killed, its data lost", "Redis", seconds=(0, 4))
def redis_lost(scene: Scene, random: Random) -> Iterator[None]:
    _kill_redis(scene)
    for file in ("appendonly.aof", "dump.rdb"):
        (scene.data / "redis" / file).unlink(missing_ok=True)
    shutil.rmtree(scene.data / "redis" / "appendonlydir", ignore_errors=True)
    yield
    scene.start_servers_again()
    require(scene.redis.get(MARK) is None, "Redis has its data again")


@disturbance("Redis flushed", "Redis")
def redis_flushed(scene: Scene, random: Random) -> Iterator[None]:
    """With the messages, what Celery knows of those that are being worked on is gone."""
    require(scene.redis.exists(*QUEUES, *UNACKED), "Redis holds no message")
    scene.redis.flushall()
    yield


@disturbance("Redis paused (SIGSTOP)", "Redis", seconds=(2, 6))
def redis_paused(scene: Scene, random: Random) -> Iterator[None]:
    server = scene.redis_server()
    stop([server])
    require(not _redis_answers(scene), "Redis answers")
    yield
    server.resume()


@disturbance("Redis full (maxmemory), later raised", "Redis", seconds=(2, 5))
def redis_full(scene: Scene, random: Random) -> Iterator[None]:
    scene.redis.config_set("maxmemory", "1")
    is_refused = False
    try:
        scene.redis.set(MARK, 1)
    except redis.RedisError:
        is_refused = True
    require(is_refused, "Redis takes data")
    yield
    scene.redis.config_set("maxmemory", "0")


# Messages


def _messages(scene: Scene) -> list[tuple[str, bytes]]:
    """The messages that wait in the queues."""
    found = [(queue, body) for queue in QUEUES for body in scene.redis.lrange(queue, 0, -1)]
    require(found, "no message waits")
    return found


@disturbance("messages doubled", "messages", seconds=(0, 2))
def messages_doubled(scene: Scene, random: Random) -> Iterator[None]:
    for queue, body in _messages(scene):
        for _ in range(random.randint(1, 3)):
            scene.redis.rpush(queue, body)
    yield


@disturbance("listing: message four times", "listing", strikes=Strikes.LISTING)
def listing_doubled(scene: Scene, random: Random) -> Iterator[None]:
    for run_id, _ in scene.open_runs():
        for _ in range(4):
            scene.send("mernet.list_run", run_id)
    require(scene.is_listing(), "the run is listed")
    yield


@disturbance("messages dropped", "messages")
def messages_dropped(scene: Scene, random: Random) -> Iterator[None]:
    """Those that wait, and those that a worker has and has not begun."""
    _messages(scene)
    scene.redis.delete(*QUEUES, *UNACKED)
    yield


@disturbance("messages reordered", "messages")
def messages_reordered(scene: Scene, random: Random) -> Iterator[None]:
    require(len(_messages(scene)) > 1, "a single message waits")
    for queue in QUEUES:
        bodies = scene.redis.lrange(queue, 0, -1)
        random.shuffle(bodies)
        scene.redis.delete(queue)
        for body in bodies:
            scene.redis.rpush(queue, body)
    yield


def _malformed(scene: Scene) -> list[bytes]:
    """Messages that no program of ours sends; the worker is to set them aside."""
    whole = json.loads(_messages(scene)[0][1])
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
    scene.redis.delete(KEPT)
    for body in random.sample(_malformed(scene), 4):
        scene.redis.rpush(random.choice(QUEUES), body)
    yield
    set_aside = scene.wait_until(lambda: scene.redis.llen(KEPT) == 4, 20)
    require(set_aside, f"{scene.redis.llen(KEPT)} of 4 messages are set aside")


@disturbance("messages with strange tasks and numbers", "messages", seconds=(0, 1))
def messages_strange(scene: Scene, random: Random) -> Iterator[None]:
    scene.redis.delete(KEPT)
    scene.send("mernet.no_such_task", 1)
    scene.send("mernet.classify_chunk")
    scene.send("mernet.classify_chunk", 2**70, -1)
    scene.send("mernet.classify_chunk", "one", None)
    scene.send("mernet.list_run", {"a": 1})
    yield
    set_aside = scene.wait_until(lambda: scene.redis.llen(KEPT) > 0, 20)
    require(set_aside, "no message is set aside")


# Postgres


def _no_small_disk(scene: Scene) -> str | None:
    return None if scene.has_own_disk else "needs root, to mount a small disk"


def _require_no_database(scene: Scene) -> None:
    answers = True
    try:
        scene.rows("SELECT 1")
    except sa.exc.DBAPIError:
        answers = False
    require(not answers, "Postgres answers")


@disturbance("Postgres connections terminated", "Postgres", seconds=(0, 3))
def connections_terminated(scene: Scene, random: Random) -> Iterator[None]:
    ended = 0
    for _ in range(random.randint(1, 5)):
        ended += len(
            scene.rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'mernet'"
            )
        )
        time.sleep(0.2)
    require(ended, "there was no connection")
    yield


@disturbance("Postgres backend killed (SIGKILL)", "Postgres")
def backend_killed(scene: Scene, random: Random) -> Iterator[None]:
    """The server then ends all others, and recovers."""
    found = scene.rows("SELECT pid FROM pg_stat_activity WHERE application_name = 'mernet'")
    require(found, "there is no connection")
    backend = psutil.Process(random.choice(found)[0])
    before = scene.postmaster_children()
    backend.kill()
    yield
    crashed = scene.wait_until(lambda: not any(map(is_alive, before)), 10)
    require(crashed, "the server goes on")


@disturbance("postmaster killed, started again at once", "Postgres")
def postmaster_killed(scene: Scene, random: Random) -> Iterator[None]:
    killed = scene.postmaster()
    killed.kill()
    yield
    scene.start_servers()
    require(scene.postmaster().pid != killed.pid, "the postmaster lives")


def _postmaster_away() -> Generate:
    def inflict(scene: Scene, random: Random) -> Iterator[None]:
        postmaster = scene.postmaster()
        send_signal([*postmaster.children(recursive=True), postmaster], signal.SIGKILL)
        scene.wait_until(lambda: not is_alive(postmaster), 10)
        _require_no_database(scene)
        yield
        _require_no_database(scene)
        scene.start_servers_again()

    return inflict


disturbance("postmaster killed, started again later", "Postgres", (2, 6))(_postmaster_away())
disturbance(
    "Postgres not running for longer than its calls are repeated",
    "long",
    (LONGER_THAN_RETRIES, LONGER_THAN_RETRIES + 5),
)(_postmaster_away())


@disturbance("servers stopped and started", "Postgres", seconds=(0, 4))
def servers_stopped(scene: Scene, random: Random) -> Iterator[None]:
    stopped = scene.command("services", "stop")
    require(stopped.returncode == 0, stopped.stderr)
    _require_no_database(scene)
    require(not _redis_answers(scene), "Redis answers")
    yield
    scene.start_servers_again()


@disturbance("Postgres stopped (SIGSTOP)", "Postgres", seconds=(3, 6))
def postgres_stopped(scene: Scene, random: Random) -> Iterator[None]:
    stopped = [scene.postmaster(), *scene.postmaster_children()]
    stop(stopped)
    yield
    send_signal(stopped, signal.SIGCONT)


@disturbance("deadlock and serialization errors", "Postgres", seconds=(1, 4))
def errors_raised(scene: Scene, random: Random) -> Iterator[None]:
    """The server raises them in a quarter of the statements, as it does under load."""
    tables = ("outcome", "chunk", "run", "product", "run_product", "service_lock")
    scene.execute("CREATE SEQUENCE IF NOT EXISTS made_errors")
    scene.execute("""
        CREATE OR REPLACE FUNCTION fail_sometimes() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF random() < 0.12 THEN
                PERFORM nextval('made_errors');
                RAISE 'made deadlock' USING ERRCODE = '40P01';
            END IF;
            IF random() < 0.12 THEN RAISE 'made failure' USING ERRCODE = '40001'; END IF;
            RETURN NULL;
        END $$""")
    for table in tables:
        scene.execute(
            f"CREATE TRIGGER fail_sometimes AFTER INSERT OR UPDATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION fail_sometimes()"
        )
    scene.archive.release()
    yield

    def has_failed() -> bool:
        return scene.rows("SELECT is_called FROM made_errors") == [(True,)]

    scene.wait_until(has_failed, 10)
    for table in tables:
        scene.execute(f"DROP TRIGGER fail_sometimes ON {table}")
    require(has_failed(), "no statement has failed")
    scene.execute("DROP SEQUENCE made_errors")


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
            chunks = (
                "SELECT FROM chunk WHERE closed_at IS NULL ORDER BY number DESC LIMIT 2 FOR UPDATE"
            )
            require(connection.exec_driver_sql(chunks).rowcount, "no chunk is open")
            yield


def _disk_full() -> Generate:
    def inflict(scene: Scene, random: Random) -> Iterator[None]:
        """Also Postgres has no room: neither for its log, nor for rows."""
        ballast = scene.data / "ballast"
        _fill(ballast)
        with suppress(sa.exc.DBAPIError):
            for _ in range(random.choice((0, 8))):  # its log needs new files
                scene.execute("SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000000))")
        _fill(ballast)
        require(_has_no_room(scene), "Postgres takes rows")
        yield
        ballast.unlink()
        scene.start_servers_again()

    return inflict


def _fill(ballast: os.PathLike[str]) -> None:
    with open(ballast, "ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(2**16))
    with open(ballast, "ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(2**10))


def _has_no_room(scene: Scene) -> bool:
    """Whether Postgres refuses rows, or has ended."""
    try:
        scene.execute(
            "CREATE TABLE no_room AS SELECT repeat('x', 1000) FROM generate_series(1, 50)"
        )
    except sa.exc.DBAPIError as error:
        return sqlstate(error) in (DISK_FULL, None, "57P01", "57P02", "57P03")
    scene.execute("DROP TABLE no_room")
    return False


disturbance("disk full", "Postgres", (2, 5), why_not=_no_small_disk)(_disk_full())
disturbance("disk full for longer", "long", (25, 40), why_not=_no_small_disk)(_disk_full())


# Network


@disturbance("connections of a host cut", "network", seconds=(0, 3))
def connections_cut(scene: Scene, random: Random) -> Iterator[None]:
    cut = 0
    for _ in range(random.randint(2, 4)):
        for link in random.sample(scene.links, random.randint(1, 2)):
            cut += link.cut()
        time.sleep(0.3)
    require(cut, "there was no connection")
    yield


def _host_cut_off(scene: Scene, random: Random) -> Iterator[None]:
    for link in scene.links:
        link.held_back = 0
        link.is_silent = True
    scene.archive.release()
    yield
    require(sum(link.held_back for link in scene.links), "the host has sent nothing")
    for link in scene.links:
        link.is_silent = False


disturbance("host without network, reconnected", "network", (4, 8))(_host_cut_off)
disturbance("host without network for long, reconnected", "long", (40, 45))(_host_cut_off)


@disturbance("clock of a host ahead or behind", "network", seconds=(0, 2))
def clock_skew(scene: Scene, random: Random) -> Iterator[None]:
    """The worker with the only scheduler is started again with another time."""
    shift = random.choice((-3600, -60, 60, 3600))
    scene.near.stop()
    scene.near.start(FAULTS_CLOCK_SHIFT=str(shift))
    scene.redis.delete(*QUEUES, *UNACKED)
    scene.archive.release()
    clock = scene.switches / "clock"
    require(scene.wait_until(clock.is_file, 30), "no process has the wrong time")
    wrong, right = map(float, clock.read_text().split())
    require(abs(wrong - right - shift) < 1, f"the clock is {wrong - right:+.0f} s wrong")
    clock.unlink()
    yield
    # The run has to end before the host gets the right time again.
    has_ended = scene.wait_for_the_end(45)
    scene.near.stop()
    scene.near.start()
    require(has_ended, f"the run does not end while a clock is {shift:+d} s wrong")


for _name in (
    "SIGKILL to a worker",
    "Redis killed, its data kept",
    "Redis killed, its data lost",
    "Redis flushed",
    "Redis paused (SIGSTOP)",
    "Redis full (maxmemory), later raised",
    "Postgres connections terminated",
    "Postgres backend killed (SIGKILL)",
    "postmaster killed, started again at once",
    "postmaster killed, started again later",
    "Postgres not running for longer than its calls are repeated",
    "servers stopped and started",
    "Postgres stopped (SIGSTOP)",
    "deadlock and serialization errors",
    "disk full",
    "connections of a host cut",
    "host without network, reconnected",
    "run paused and resumed",
    "overlapping runs",
):
    also(_name, Strikes.LISTING)

for _name in (
    "Redis killed, its data lost",
    "Redis paused (SIGSTOP)",
    "Postgres connections terminated",
    "Postgres backend killed (SIGKILL)",
    "postmaster killed, started again at once",
    "postmaster killed, started again later",
    "Postgres not running for longer than its calls are repeated",
    "Postgres stopped (SIGSTOP)",
    "servers stopped and started",
    "deadlock and serialization errors",
    "disk full",
):
    also(_name, Strikes.INGEST)

for _name in (
    "SIGKILL to a worker",
    "Redis killed, its data lost",
    "Postgres connections terminated",
    "postmaster killed, started again later",
):
    also(_name, Strikes.CHECK)
