"""What an archive publishes later becomes a run, by command and automatically."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.volume import GrowingVolume, as_version, at_clock
from mernet.demo.server import serve

NEW, VERSIONS, WITHDRAWN = 30, 5, 2


@pytest.fixture
def volume(archive: Path, tmp_path: Path) -> GrowingVolume:
    return GrowingVolume(shutil.copytree(archive / "mer1po_0xxx", tmp_path / "mer1po_0xxx"))


@pytest.fixture
def url(volume: GrowingVolume) -> Iterator[str]:
    with serve(volume.folder.parent) as url:
        yield f"{url}{volume.folder.name}/"


def classified(service):
    rows = service.rows("SELECT product_id FROM outcome WHERE state = 'classified'")
    return sorted(name for (name,) in rows)


def shown(service):
    return {name for (name,) in service.rows("SELECT product_id FROM atlas_search")}


def test_new_products_new_versions_and_withdrawals_are_distinguished(make_service, volume, url):
    service = make_service()
    service.json("run", "full", "--archive", url, "--follow")
    before = classified(service)
    superseded, gone = before[:VERSIONS], before[-WITHDRAWN:]
    new = [at_clock(before[n % VERSIONS], 300_000_000 + n) for n in range(NEW)]
    for number, name in enumerate(new):
        volume.add(name, like=before[number % VERSIONS])
    for name in superseded:
        volume.add(as_version(name, "9"), like=name)
    for name in gone:
        volume.withdraw(name)
    volume.publish()

    run = service.json("run", "new", "--archive", url, "--follow")

    assert run["run"]["kind"] == "new"
    in_run = {
        name
        for (name,) in service.rows(
            f"SELECT product_id FROM run_product WHERE run_id = {run['run']['run_id']}"
        )
    }
    assert in_run == {*new, *(as_version(name, "9") for name in superseded)}
    assert run["classified"] == NEW + VERSIONS
    assert shown(service).isdisjoint({*superseded, *gone})
    marked = service.rows("SELECT product_id FROM product WHERE withdrawn_at IS NOT NULL")
    assert sorted(name for (name,) in marked) == gone
    assert service.json("reconcile")["ok"]


def test_with_nothing_new_there_is_no_run_and_one_sentence(make_service, url):
    service = make_service()
    service.json("run", "new", "--archive", url)
    again = service.run("run", "new", "--archive", url, "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout) == {"run": None, "withdrawn": 0}
    assert "No listing has changed since the last check" in again.stderr
    assert service.rows("SELECT count(*) FROM run") == [(1,)]


def test_a_worker_with_an_ingest_interval_ingests_automatically(make_service, volume, url):
    service = make_service(MERNET_INGEST_SECONDS="1", MERNET_INGEST_ARCHIVES=url)

    def finished_runs() -> int:
        return len(service.rows("SELECT FROM run WHERE kind = 'new' AND state = 'finished'"))

    with service.worker():
        service.wait_for("the first run", lambda: finished_runs() == 1)
        seen = classified(service)[0]
        volume.add(as_version(seen, "9"), like=seen)
        volume.publish()
        service.wait_for("the run of the new version", lambda: finished_runs() == 2)
    assert as_version(seen, "9") in classified(service)
    assert service.rows("SELECT count(*) FROM run") == [(2,)]
