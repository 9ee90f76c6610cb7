"""The scene of disturbances: servers, two workers, an archive, and runs that are judged."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import redis
import sqlalchemy as sa
from celery import Celery

from faults.cut_network import Link
from faults.flaky_archive import FlakyArchive
from mernet.db import classifiers, ledger, migrate
from mernet.db.classifiers import NewClassifier
from mernet.db.ledger import NewRun
from mernet.self_command import self_command
from mernet.worker.app import make_app
from mernet.worker.embedded_urls import embedded_database_url
from mernet.worker.settings import Settings

IN_WORKERS = Path(__file__).parent / "in_workers"
DISK_BYTES = 1200 * 2**20
PATIENCE = 120.0
QUEUES = ("listing", "classify")
DONE = (0, 3)
"""Exit codes of what was done; with 3, products failed, as some of the sample archive's do."""

INGEST_PAUSE = 2.0
PROCESS = re.compile(r"process (\d+)")
ONE_MIGRATION = threading.Lock()
"""Alembic cannot migrate in two threads at once."""

A_DAY = 86_400
SCHEDULED = """
SELECT FROM service_lock WHERE name = 'scheduled ingest' AND holder IS NULL
AND next_start_at IS NULL
"""
NOT_DUE = """
INSERT INTO service_lock (name, since) VALUES ('scheduled ingest', now())
ON CONFLICT (name) DO UPDATE SET since = now(), holder = NULL, next_start_at = NULL
"""

CHUNK_SIZE = 2
PROCESSES = 2
CLASSIFIERS = ("first", "second")
QUICK = {
    "MERNET_CHUNK_SIZE": str(CHUNK_SIZE),
    "MERNET_LEASE_SECONDS": "3",
    "MERNET_SWEEP_SECONDS": "1",
    "MERNET_FETCH_TIMEOUT": "5",
    "MERNET_CHUNK_TIME_LIMIT": "60",
    "MERNET_LISTING_TIME_LIMIT": "60",
}
OUTCOMES = """
SELECT product_id, state, reason, scores FROM outcome
JOIN classifier ON classifier.sha256 = outcome.classifier WHERE name = 'first' ORDER BY 1
"""
CLASSES = """
SELECT product_id, class, probability FROM classification
JOIN classifier ON classifier.sha256 = classification.classifier WHERE name = 'first' ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Published:
    """The outcomes and classifications of the first classifier."""

    outcomes: list[tuple[Any, ...]]
    classes: list[tuple[Any, ...]]


@dataclass
class Worker:
    """A `mernet worker` that is started again when it has ended, as a service manager does."""

    name: str
    options: tuple[str, ...]
    environment: dict[str, str]
    log: Path
    process: "subprocess.Popen[bytes]" = field(init=False)

    def start(self, **more: str) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self_command(
                    "worker", "--processes", str(PROCESSES), "--name", self.name, *self.options
                ),
                env=self.environment | more,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def family(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def supervise(self) -> None:
        if self.process.poll() is not None:
            self.start()

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGCONT)
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class Scene:
    """Embedded servers, an archive, a worker beside the servers and one behind a network."""

    folder: Path
    archive: FlakyArchive
    has_own_disk: bool = False
    workers: list[Worker] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    harmed: set[str] = field(default_factory=set)
    ingest: "subprocess.Popen[bytes] | None" = None
    is_checking: bool = False
    _ingest_ended: float = 0.0

    def __post_init__(self) -> None:
        self.data = self.folder / "data"
        self.switches = self.folder / "switches"
        self.logs = self.folder / "logs"
        for made in (self.data, self.switches, self.logs):
            made.mkdir(exist_ok=True)
        self.engine = sa.create_engine(
            embedded_database_url(self.data).replace("postgresql:", "postgresql+psycopg2:"),
            poolclass=sa.NullPool,
            connect_args={"application_name": "scene", "connect_timeout": 5},
        )
        self.redis = redis.Redis(unix_socket_path=str(self.data / "redis" / "redis.sock"))

    @property
    def environment(self) -> dict[str, str]:
        bare = {key: value for key, value in os.environ.items() if not key.startswith("MERNET_")}
        return (
            bare
            | QUICK
            | {
                "MERNET_DATA_DIR": str(self.data),
                "MERNET_INGEST_SECONDS": str(A_DAY),
                "MERNET_INGEST_ARCHIVES": " ".join(self.archives),
                "PYTHONPATH": str(IN_WORKERS),
                "FAULTS_SWITCHES": str(self.switches),
                "FAULTS_CLOCKS": str(self.switches / "clock"),
                "OMP_NUM_THREADS": "1",
            }
        )

    def command(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self_command(*words),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def start_servers(self) -> None:
        """Start the embedded servers with the operator's command."""
        ran = self.command("services", "start")
        if ran.returncode:
            raise RuntimeError(f"services start: {ran.stderr}")

    def begin(self) -> None:
        self.start_servers()
        with ONE_MIGRATION:
            migrate.upgrade(self.engine)
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for setting in ("max_wal_size = '64MB'", "min_wal_size = '32MB'"):
                connection.exec_driver_sql(f"ALTER SYSTEM SET {setting}")
            connection.exec_driver_sql("SELECT pg_reload_conf()")
        (self.data / "checkpoints").mkdir(exist_ok=True)
        for name in CLASSIFIERS:
            self._register(name)
        classifiers.promote(self.engine, "first")
        self.execute(NOT_DUE)
        config = Settings(data_dir=self.data, database_url=None, broker_url=None)
        self.app: Celery = make_app(config)
        self.database_link = Link(self.data / "postgres" / ".s.PGSQL.5432")
        self.broker_link = Link(self.data / "redis" / "redis.sock")
        self.links = [self.database_link, self.broker_link]
        far = self.environment | {
            "MERNET_DATABASE_URL": "postgresql://postgres:@127.0.0.1:"
            f"{self.database_link.port}/mernet",
            "MERNET_BROKER_URL": f"redis://127.0.0.1:{self.broker_link.port}/0",
        }
        self.near = Worker("near", (), self.environment, self.logs / "near.log")
        self.far = Worker("far", ("--no-scheduler",), far, self.logs / "far.log")
        self.workers = [self.near, self.far]
        for worker in self.workers:
            worker.start()

    def end(self) -> None:
        self.stop_ingest()
        for worker in self.workers:
            worker.stop()
        for link in self.links:
            link.close()
        self.command("services", "stop")

    def log(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.logs.glob("*.log")))

    # Runs

    @property
    def archives(self) -> tuple[str, ...]:
        return tuple(f"{self.archive.url}{volume}/" for volume in ("mer1po_0xxx", "mer2po_0xxx"))

    def queue_run(self, reclassify: bool = True, archives: tuple[str, ...] | None = None) -> int:
        new = NewRun(archives or self.archives, chunk_size=CHUNK_SIZE, reclassify=reclassify)
        run_id = ledger.create_run(self.engine, new).run_id
        self.send("mernet.list_run", run_id)
        return run_id

    def start_ingest(self) -> None:
        """Check for new products with the operator's command, again and again until it succeeds."""
        words = [word for archive in self.archives for word in ("--archive", archive)]
        with (self.logs / "ingest.log").open("a") as log:
            self.ingest = subprocess.Popen(
                self_command("run", "new", *words),
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start_check(self) -> None:
        """Make the scheduled check for new products due; it is tried until it succeeds."""
        self.execute(
            "UPDATE service_lock SET next_start_at = now() WHERE name = 'scheduled ingest'"
        )
        self.is_checking = True

    def _supervise_check(self) -> None:
        if self.is_checking:
            with suppress(sa.exc.DBAPIError):
                self.is_checking = not self.rows(SCHEDULED)

    def _supervise_ingest(self) -> None:
        if self.ingest is None or self.ingest.poll() is None:
            self._ingest_ended = time.monotonic()
        elif self.ingest.returncode in DONE:
            self.ingest = None
        elif time.monotonic() > self._ingest_ended + INGEST_PAUSE:
            self.start_ingest()

    def stop_ingest(self) -> None:
        if self.ingest is not None:
            self.ingest.kill()
            self.ingest.wait()
            self.ingest = None

    def send(self, task: str, *arguments: object) -> None:
        self.app.send_task(task, args=arguments, retry=False)

    def rows(self, sql: str, **values: object) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(sql), values)]

    def execute(self, sql: str) -> None:
        with self.engine.begin() as connection:
            connection.exec_driver_sql(sql)

    def published(self) -> Published:
        return Published(self.rows(OUTCOMES), self.rows(CLASSES))

    def forget(self) -> None:
        """Delete all runs and results, so that the next run publishes for the first time."""
        self.execute("TRUNCATE run, product, listing_state CASCADE")

    def forget_some(self, product_ids: Iterable[str]) -> None:
        """Delete the results of these products, so that an ingest finds them as new."""
        for product_id in product_ids:
            for table in ("classification", "outcome"):
                self.execute(f"DELETE FROM {table} WHERE product_id = '{product_id}'")
        self.execute("TRUNCATE listing_state CASCADE")

    def open_runs(self) -> list[tuple[Any, ...]]:
        return self.rows("SELECT run_id, state FROM run WHERE finished_at IS NULL")

    def is_busy(self) -> bool:
        """Whether a run is open or an ingest is at work."""
        return self.ingest is not None or self.is_checking or bool(self.open_runs())

    def is_listing(self) -> bool:
        return bool(self.rows("SELECT FROM run WHERE state = 'listing'"))

    def wait_until(self, condition: Callable[[], bool], seconds: float = PATIENCE) -> bool:
        """Wait while the workers are supervised; return whether it came true in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.supervise()
            with suppress(sa.exc.DBAPIError, redis.RedisError, OSError):
                if condition():
                    return True
            time.sleep(0.1)
        return False

    def wait_for_the_end(self, seconds: float = PATIENCE) -> bool:
        return self.wait_until(lambda: not self.is_busy(), seconds)

    def supervise(self) -> None:
        for worker in self.workers:
            worker.supervise()
        self._supervise_ingest()
        self._supervise_check()

    # Processes

    def children(self, worker: Worker) -> list[psutil.Process]:
        """The processes that list and classify."""
        return [each for each in worker.family() if not _is_scheduler(each)]

    def is_manned(self) -> bool:
        """Whether all processes of the workers run."""
        has_children = all(len(self.children(each)) >= PROCESSES for each in self.workers)
        return has_children and bool(self.scheduler())

    def scheduler(self) -> list[psutil.Process]:
        """The only scheduler of the scene."""
        return [each for each in self.near.family() if _is_scheduler(each)]

    def listers(self) -> list[psutil.Process]:
        """The process of `run new`, or that which lists a run or checks for new products."""
        if self.ingest is not None:
            pids = [self.ingest.pid]
        else:
            claims = self.rows(
                "SELECT claimed_by FROM run WHERE state = 'listing' AND claimed_by IS NOT NULL "
                "UNION ALL SELECT holder FROM service_lock "
                "WHERE name = 'scheduled ingest' AND holder IS NOT NULL"
            )
            pids = [int(PROCESS.findall(claim)[0]) for (claim,) in claims]
        with suppress(psutil.NoSuchProcess):
            found = [psutil.Process(pid) for pid in pids]
            return [each for each in found if each.status() != psutil.STATUS_ZOMBIE]
        return []

    def switch(self, name: str, product: str | None) -> None:
        """Let a product do harm in the workers, or no more."""
        switch = self.switches / name
        switch.unlink(missing_ok=True) if product is None else switch.write_text(product)

    def postmaster(self) -> psutil.Process:
        return psutil.Process(
            int((self.data / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        )

    def postmaster_children(self) -> list[psutil.Process]:
        return self.postmaster().children(recursive=True)

    def redis_server(self) -> psutil.Process:
        return psutil.Process(int(self.redis.info("server")["process_id"]))

    def start_servers_again(self) -> None:
        """As an operator would: until it succeeds, a few times."""
        for _ in range(10):
            with suppress(RuntimeError):
                self.start_servers()
                return
            time.sleep(1)
        raise RuntimeError("services start does not succeed")

    def resume_servers(self) -> None:
        """Wake what was stopped."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if str(self.data) in " ".join(process.cmdline()):
                    process.send_signal(signal.SIGCONT)

    def reset(self) -> None:
        """Bring everything back after a disturbance that was not survived."""
        self.archive.release()
        self.stop_ingest()
        for switch in self.switches.iterdir():
            switch.unlink()
        (self.data / "ballast").unlink(missing_ok=True)
        self.resume_servers()
        for worker in self.workers:
            worker.stop()
        for link in self.links:
            link.is_silent = False
            link.cut()
        self.start_servers_again()
        self.execute(
            "UPDATE run SET state = 'cancelled', finished_at = now() WHERE finished_at IS NULL"
        )
        self.redis.flushall()
        self.is_checking = False
        self.execute(NOT_DUE)
        for worker in self.workers:
            worker.start()

    def _register(self, name: str) -> None:
        content = f"stand-in for the checkpoint of {name}".encode()
        sha256 = hashlib.sha256(content).hexdigest()
        path = self.data / "checkpoints" / f"{sha256}.safetensors"
        path.write_bytes(content)
        header = {"input_size": 224}
        classifiers.add(self.engine, NewClassifier(sha256, name, str(path), 0.9, header))


def _is_scheduler(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return "scheduler" in process.cmdline()
    return False


@contextmanager
def scene(sample: Path, pace: float = 1.0) -> Iterator[Scene]:
    """A scene over a sample archive; its data folder is a small disk of its own where root."""
    # The paths of pytest's own folders are too long for Unix sockets.
    folder = Path(tempfile.mkdtemp(prefix="mernet-"))
    folder.chmod(0o755)
    disk = folder / "data"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=755", "tmpfs", str(disk)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    archive = FlakyArchive(sample, pace)
    archive.start()
    made = Scene(folder, archive, has_own_disk=mounted)
    try:
        made.begin()
        yield made
    finally:
        made.end()
        archive.stop()
        if mounted:
            subprocess.run(["umount", "--lazy", str(disk)], check=False)
        shutil.rmtree(folder, ignore_errors=True)
