"""A database whose disk is really full: work waits, and ends right when there is space again."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from tenacity import wait_none

import mernet.db.engine
from fixtures.index_volume import Volume, name
from fixtures.ledger import Story
from mernet.cli.service.waiting import all_obstacles
from mernet.db import classifiers, ledger, migrate
from mernet.db.classifiers import NewClassifier
from mernet.db.engine import connect
from mernet.db.errors import ConnectionFailed
from mernet.db.ledger import NewRun
from mernet.pds.fetch import Fetcher, Transfers
from mernet.pds.image import Frame
from mernet.worker.ingest import ingest
from mernet.worker.listing import record_products
from mernet.worker.pipeline import Pipeline

DISK_BYTES = 48 * 2**20
ATTEMPTS = 7
"""More than a chunk or a listing has."""

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/proc/mounts").exists(),
    reason="only root can mount a small disk",
)


@pytest.fixture
def small_disk(postgres_server: str) -> Iterator[Path]:
    """A disk of its own that Postgres can write."""
    server = sa.create_engine(postgres_server)
    with server.connect() as connection:
        owner = Path(connection.exec_driver_sql("SHOW data_directory").scalar_one()).stat()
    server.dispose()
    with tempfile.TemporaryDirectory(prefix="mernet-") as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=755", "tmpfs", folder]
        if subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("this container may not mount a small disk")
        disk = Path(folder)
        disk.chmod(0o755)
        tables = disk / "tables"
        tables.mkdir()
        os.chown(tables, owner.st_uid, owner.st_gid)
        yield disk
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def story(postgres_server: str, small_disk: Path) -> Iterator[Story]:
    """A database on the small disk, with a current classifier; the log of Postgres is elsewhere."""
    server = sa.create_engine(postgres_server, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE TABLESPACE small LOCATION '{small_disk}/tables'")
        connection.exec_driver_sql("CREATE DATABASE small TABLESPACE small")
    engine = connect(server.url.set(database="small").render_as_string(hide_password=False))
    migrate.upgrade(engine)
    classifiers.add(engine, NewClassifier("a" * 64, "first", "/models/first", 0.9, {"size": 224}))
    classifiers.promote(engine, "first")
    yield Story(engine)
    engine.dispose()
    with server.connect() as connection:
        connection.exec_driver_sql("DROP DATABASE small WITH (FORCE)")
        connection.exec_driver_sql("DROP TABLESPACE small")
    server.dispose()


@pytest.fixture
def fill(small_disk: Path) -> Iterator[Callable[[], Path]]:
    """Fills the disk until the file that it returns is removed, also if Postgres has made room."""
    ballast = small_disk / "ballast"

    def fill() -> Path:
        with ballast.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(2**12))
        return ballast

    yield fill
    ballast.unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def repeated_at_once(monkeypatch):
    at_once = mernet.db.engine._RETRYING.copy(wait=wait_none())
    monkeypatch.setattr(mernet.db.engine, "_RETRYING", at_once)


class Archive:
    transfers = Transfers()

    def fetch(self, url):
        return b"PDS_VERSION_ID = PDS3 "

    fetch_once = fetch

    def reconnect(self):
        """There are no connections."""


class Classifier:
    batch_size = 8

    def probabilities(self, renderings):
        return np.full((len(renderings), 25), 0.95, np.float32)


@pytest.fixture
def pipeline(story, monkeypatch):
    pixels = np.arange(1024 * 1024, dtype=np.uint32).reshape(1024, 1024)
    monkeypatch.setattr(
        "mernet.worker.product_images.decode", lambda *args, **options: Frame(pixels, None)
    )
    return Pipeline(
        story.engine,
        Archive(),
        lambda sha256: Classifier(),
        threads=2,
        lease_seconds=600,
        max_attempts=3,
        pause=lambda seconds: None,
    )


def now_due(story):
    with suppress(sa.exc.OperationalError):
        story.execute("UPDATE obstacle SET next_try_at = now()")


def test_a_chunk_waits_while_the_disk_of_the_database_is_full(story, pipeline, fill):
    run_id = story.listed(count=4)
    for attempt in range(ATTEMPTS):
        ballast = fill()
        done = pipeline.work_on(run_id, 1, f"worker {attempt}")
        assert "for the database small" in done.summary
        now_due(story)
    assert story.rows("SELECT state, attempts FROM chunk") == [("ready", 0)]
    [found] = all_obstacles(story.engine)
    assert (found.kind, found.subject, found.run_ids) == ("database", "small", (run_id,))
    assert "No space left on device" in found.reason
    ballast.unlink()
    now_due(story)
    assert pipeline.work_on(run_id, 1, "at last").summary == "4 classified"
    assert ledger.reconcile(story.engine, run_id).ok
    assert story.rows("SELECT count(*) FROM classification") == [(4 * 25,)]
    assert all_obstacles(story.engine) == []


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    volume = Volume(tmp_path / "volume")
    volume.lists(*map(name, range(1, 400)))
    return volume


def test_a_listing_waits_while_the_disk_of_the_database_is_full(
    story, volume, fill, tmp_path, monkeypatch
):
    monkeypatch.setattr("mernet.worker.giving_back.PAUSE_SECONDS", 0)
    monkeypatch.setattr("mernet.worker.giving_back.PAUSE_UNREPORTED", 0)
    archive = str(tmp_path / "volume")
    run_id = ledger.create_run(story.engine, NewRun(archives=(archive,))).run_id
    with Fetcher() as fetcher:
        for attempt in range(ATTEMPTS):
            ballast = fill()
            done = record_products(story.engine, run_id, f"lister {attempt}", fetcher, 600)
            assert "for the database small" in done.summary
            assert ledger.get_run(story.engine, run_id).state == "listing"
            now_due(story)
        ballast.unlink()
        assert "399 products listed" in (
            record_products(story.engine, run_id, "at last", fetcher, 600).summary
        )
    assert ledger.get_run(story.engine, run_id).state == "running"
    assert all_obstacles(story.engine) == []


def test_an_ingest_on_a_full_disk_changes_nothing_and_the_next_one_finds_the_same(
    story, volume, fill, tmp_path
):
    wanted = NewRun(archives=(str(tmp_path / "volume"),))
    ballast = fill()
    with Fetcher() as fetcher:
        with pytest.raises(ConnectionFailed, match="no room left"):
            ingest(story.engine, wanted, fetcher)
        ballast.unlink()
        assert ingest(story.engine, wanted, fetcher).sentence.startswith("Run 1 contains 399 new")
