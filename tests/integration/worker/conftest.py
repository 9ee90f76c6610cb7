"""A volume over HTTP, and an ingest of what it has new."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.index_volume import Volume, name
from mernet.db.ledger import NewRun
from mernet.demo.server import serve
from mernet.pds.fetch import Fetcher
from mernet.worker.ingest import ingest


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    volume = Volume(tmp_path / "volume")
    volume.lists(name(1), name(2), name(3))
    return volume


@pytest.fixture
def url(tmp_path: Path, volume: Volume) -> Iterator[str]:
    with serve(tmp_path) as url:
        yield f"{url}volume/"


@pytest.fixture
def run_ingest(story, url):
    """One ingest; gives its report."""

    def run_ingest(*archives, products="edr", withdraw_many=False):
        with Fetcher(attempts=1) as fetcher:
            wanted = NewRun(archives=archives or (url,), products=products)
            return ingest(story.engine, wanted, fetcher, withdraw_many)

    return run_ingest
