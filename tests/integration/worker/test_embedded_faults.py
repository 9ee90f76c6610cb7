"""Embedded servers that were killed, that lack space, and that belong to somebody else."""

import os
import pwd
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg2
import pytest
import redis
import sqlalchemy as sa

from mernet.db.engine import connect
from mernet.self_command import self_command
from mernet.worker.embedded import EmbeddedPostgres, EmbeddedRedis, ServerState
from mernet.worker.errors import ServiceError

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
STRANGER = "nobody"


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mernet-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture
def postgres(folder: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(folder)
    server.start()
    yield server
    server.stop()


def main_process(server: EmbeddedPostgres) -> int:
    return int((server.data / "postmaster.pid").read_text().splitlines()[0])


def query_that_never_ends(server: EmbeddedPostgres) -> threading.Thread:
    """Start a query that computes, so that its process does not notice its server's death."""
    begun = threading.Event()

    def compute() -> None:
        with suppress(psycopg2.Error):
            connection = psycopg2.connect(server.url)
            begun.set()
            connection.cursor().execute(
                "SELECT count(*) FROM generate_series(1, 1e12::bigint) a,"
                " generate_series(1, 1e12::bigint) b"
            )

    thread = threading.Thread(target=compute, daemon=True)
    thread.start()
    assert begun.wait(30)
    return thread


def test_postgres_whose_main_process_was_killed_starts_again_at_once(postgres) -> None:
    engine = connect(postgres.url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE saved AS SELECT 42 AS value"))
    query = query_that_never_ends(postgres)
    os.kill(main_process(postgres), signal.SIGKILL)
    postgres.start()
    query.join(30)
    assert not query.is_alive()
    engine.dispose()
    with connect(postgres.url).connect() as connection:
        assert connection.scalar(sa.text("SELECT value FROM saved")) == 42


def test_a_process_of_another_program_with_the_servers_old_number_is_left_alone(postgres) -> None:
    other = subprocess.Popen(["sleep", "600"])
    try:
        os.kill(main_process(postgres), signal.SIGKILL)
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            lock = postgres.data / name
            lines = lock.read_text().splitlines()
            lock.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
        postgres.start()
        assert postgres.status().running
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_redis_that_was_killed_starts_again_at_once_with_its_queue(folder: Path) -> None:
    server = EmbeddedRedis(folder)
    server.start()
    try:
        client = redis.Redis(unix_socket_path=str(server.socket))
        client.config_set("appendfsync", "always")
        client.rpush("classify", "message")
        os.kill(client.info("server")["process_id"], signal.SIGKILL)
        client.close()
        server.start()
        assert redis.Redis(unix_socket_path=str(server.socket)).llen("classify") == 1
    finally:
        server.stop()


def test_a_first_start_that_was_killed_half_way_is_begun_again(folder: Path) -> None:
    unfinished = folder / "postgres.unfinished"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    server = EmbeddedPostgres(folder)
    server.start()
    server.stop()
    assert not unfinished.exists()


def start_with_little_space(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Start the servers where no file may grow beyond 100 kB, as on a disk that is nearly full."""
    environment = {**os.environ, "MERNET_DATA_DIR": str(folder)}
    return subprocess.run(
        self_command("services", "start"),
        env=environment,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )


def test_a_first_start_without_space_names_the_cause_and_leaves_nothing_half_made(
    folder: Path,
) -> None:
    ended = start_with_little_space(folder)
    assert ended.returncode == 1
    assert "File too large" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (folder / "postgres").exists()
    assert not (folder / "postgres.unfinished").exists()


def test_data_of_another_version_are_refused_with_both_versions(folder: Path) -> None:
    (folder / "postgres").mkdir()
    (folder / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(ServiceError, match="Postgres 16, and the installed one is 18"):
        EmbeddedPostgres(folder).start()


def test_other_files_in_the_data_folder_are_left_alone(folder: Path) -> None:
    (folder / "postgres").mkdir()
    (folder / "postgres" / "letter.txt").write_text("mine")
    with pytest.raises(ServiceError, match="holds other files"):
        EmbeddedPostgres(folder).start()
    assert (folder / "postgres" / "letter.txt").read_text() == "mine"


def test_a_new_data_folder_is_closed_to_others(folder: Path) -> None:
    server = EmbeddedRedis(folder / "new")
    server.start()
    server.stop()
    assert stat.S_IMODE((folder / "new").stat().st_mode) & 0o007 == 0


def rights_of_others(path: Path) -> dict[Path, int]:
    return {each: each.stat().st_mode & 0o007 for each in (path, *path.parents)}


@as_root
def test_root_starts_postgres_in_a_closed_folder_and_it_stays_closed(folder: Path) -> None:
    closed = folder / "home"
    inside = closed / "data"
    inside.mkdir(parents=True)
    for each in (folder, closed, inside):
        each.chmod(0o700)
    before = rights_of_others(inside)
    server = EmbeddedPostgres(inside)
    server.start()
    try:
        assert rights_of_others(inside) == before
        assert set(server.opened_folders) >= {inside, closed, folder}
        with connect(server.url).connect() as connection:
            assert connection.scalar(sa.text("SELECT 1")) == 1
    finally:
        server.stop()


def become(name: str) -> dict[str, object]:
    user = pwd.getpwnam(name)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def as_stranger(program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        cwd="/",
        **become(STRANGER),  # type: ignore[arg-type]
    )


@as_root
def test_another_user_can_neither_see_nor_use_the_servers_and_is_told_so(folder: Path) -> None:
    postgres, broker = EmbeddedPostgres(folder), EmbeddedRedis(folder)
    postgres.start()
    broker.start()
    program = """
import sys
from pathlib import Path
from mernet.worker.embedded import EmbeddedPostgres, EmbeddedRedis
from mernet.worker.errors import ServiceError
for server in (EmbeddedPostgres(Path(sys.argv[1])), EmbeddedRedis(Path(sys.argv[1]))):
    print(server.status().state)
    for action in (server.start, server.stop):
        try:
            action()
        except ServiceError as error:
            print(error)
"""
    try:
        told = as_stranger(program, str(folder))
    finally:
        postgres.stop()
        broker.stop()
    assert told.stderr == ""
    assert told.stdout.count(ServerState.REFUSED + "\n") == 2
    assert told.stdout.count(f"Access to root's folder {folder}") >= 2
    assert told.stdout.count("is refused; set MERNET_DATA_DIR") == 4


@as_root
def test_two_users_of_one_machine_have_servers_of_their_own(folder: Path) -> None:
    folder.chmod(0o755)
    theirs = folder / "theirs"
    theirs.mkdir(mode=0o700)
    user = pwd.getpwnam(STRANGER)
    os.chown(theirs, user.pw_uid, user.pw_gid)
    program = """
import sys
from pathlib import Path
from mernet.worker.embedded import EmbeddedPostgres, EmbeddedRedis
for server in (EmbeddedPostgres(Path(sys.argv[1])), EmbeddedRedis(Path(sys.argv[1]))):
    server.start()
    print(server.status().state)
    server.stop()
"""
    mine = EmbeddedPostgres(folder / "mine")
    mine.start()
    try:
        told = as_stranger(program, str(theirs))
        assert told.stderr == ""
        assert told.stdout.split() == ["running", "running"]
        assert mine.status().running
    finally:
        mine.stop()
    assert all(each.stat().st_uid == user.pw_uid for each in theirs.rglob("*"))


@as_root
def test_root_runs_the_servers_of_a_users_folder_as_that_user(folder: Path) -> None:
    folder.chmod(0o755)
    theirs = folder / "theirs"
    theirs.mkdir(mode=0o700)
    user = pwd.getpwnam(STRANGER)
    os.chown(theirs, user.pw_uid, user.pw_gid)
    server = EmbeddedPostgres(theirs)
    server.start()
    try:
        assert os.stat(f"/proc/{main_process(server)}").st_uid == user.pw_uid
    finally:
        server.stop()
