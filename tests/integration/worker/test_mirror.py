"""A mirror is only a place to read from: products keep the archive's own URLs."""

import pytest

from fixtures.index_volume import LABEL, Volume, name, products_of_run, withdrawn
from fixtures.products import write_pds3_product
from mernet.db import ledger
from mernet.db.ledger import NewRun
from mernet.pds.archive import named_archives
from mernet.pds.errors import NotFoundError
from mernet.pds.fetch import Fetcher, Transfers
from mernet.worker.ingest import UNCHANGED, ingest
from mernet.worker.listing import record_products
from mernet.worker.pipeline import Pipeline

BASE = named_archives()["opportunity"].base
OWN_URLS = [f"{BASE}volume/data/{name(clock).lower()}.img" for clock in (1, 2)]


@pytest.fixture
def copies(tmp_path):
    """Two mirrors of the archive on disk, each of which lists the same two products."""
    volumes = [Volume(tmp_path / mirror / "mer1po_0xxx") for mirror in ("one", "two")]
    for volume in volumes:
        volume.lists(name(1), name(2))
    return volumes


def folder(volume):
    return volume.index.parents[1]


def list_through(story, mirror, reclassify=False):
    new = NewRun(archives=("opportunity",), mirror=str(folder(mirror)), reclassify=reclassify)
    run_id = ledger.create_run(story.engine, new).run_id
    with Fetcher(attempts=1) as fetcher:
        record_products(story.engine, run_id, "lister", fetcher, 600)
    return run_id


def ingest_through(story, mirror):
    with Fetcher(attempts=1) as fetcher:
        return ingest(story.engine, NewRun(("opportunity",), mirror=str(folder(mirror))), fetcher)


def test_products_that_a_mirror_lists_have_the_archives_own_urls(story, copies):
    list_through(story, copies[0])
    rows = story.rows("SELECT image_url, source FROM product ORDER BY 1")
    assert rows == [(url, f"{BASE}mer1po_0xxx/") for url in OWN_URLS]


def test_another_mirror_of_the_same_archive_changes_nothing(story, copies):
    ingest_through(story, copies[0])
    before = story.rows("SELECT * FROM product ORDER BY 1")
    assert ingest_through(story, copies[1]).sentence == UNCHANGED
    list_through(story, copies[1])
    assert story.rows("SELECT * FROM product ORDER BY 1") == before


def test_a_mirror_shows_what_is_new_but_withdraws_nothing_since_it_may_lag_behind(story, copies):
    ingest_through(story, copies[0])
    known = ledger.known_files(story.engine, "a" * 64, f"{BASE}mer1po_0xxx/", "edr")
    copies[1].lists(name(1), name(3))
    report = ingest_through(story, copies[1])
    assert products_of_run(story, report) == {name(3)}
    assert (report.withdrawn, withdrawn(story)) == (0, [])
    # The archive itself may list the same: then it has to be read.
    assert ledger.known_files(story.engine, "a" * 64, f"{BASE}mer1po_0xxx/", "edr") == known


def test_a_mirror_that_lags_behind_brings_no_older_version_back(story, copies):
    copies[0].lists(name(1, 2))
    ingest_through(story, copies[0])
    copies[1].lists(name(1))
    ingest_through(story, copies[1])
    copies[0].lists(name(1, 2), name(2))
    ingest_through(story, copies[0])
    copies[1].lists(name(1), name(2))
    ingest_through(story, copies[1])
    shown = story.rows("SELECT product_id FROM product WHERE NOT superseded ORDER BY 1")
    assert shown == [(name(1, 2),), (name(2),)]


class Gone:
    """An archive that has no file, and remembers what it was asked for."""

    transfers = Transfers()

    def __init__(self):
        self.asked = []

    def fetch(self, url):
        self.asked.append(url)
        raise NotFoundError(f"{url} does not exist")

    def reconnect(self):
        """There are no connections."""


def test_images_are_read_at_the_mirror_and_one_that_it_lacks_changes_no_result(story, copies):
    story.publish(list_through(story, copies[0]), 1)
    before = story.rows("SELECT * FROM outcome ORDER BY 1")
    run_id = list_through(story, copies[1], reclassify=True)
    source = Gone()
    Pipeline(story.engine, source, lambda sha256: None, 2, 600, 3).work_on(run_id, 1, "worker")
    places = [url.replace(BASE, f"{folder(copies[1]).as_uri()}/") for url in OWN_URLS]
    assert sorted(source.asked) == places
    assert story.rows("SELECT * FROM outcome ORDER BY 1") == before
    assert ledger.progress(story.engine, run_id).failures == {"not found": 2}


def test_a_mirror_with_names_in_another_case_changes_no_url_and_is_read_as_it_is(story, copies):
    list_through(story, copies[1])
    before = story.rows("SELECT * FROM product ORDER BY 1")
    data = folder(copies[0]) / "volume" / "DATA"
    data.mkdir(parents=True)
    files = [data / f"{name(clock)}.IMG" for clock in (1, 2)]
    for file in files:
        file.touch()
    run_id = list_through(story, copies[0])
    assert story.rows("SELECT * FROM product ORDER BY 1") == before
    source = Gone()
    Pipeline(story.engine, source, lambda sha256: None, 2, 600, 3).work_on(run_id, 1, "worker")
    assert sorted(source.asked) == [file.as_uri() for file in files]


def test_the_first_listing_at_a_mirror_with_names_in_another_case_has_the_archives_urls(
    story, copies
):
    data = folder(copies[0]) / "volume" / "DATA"
    data.mkdir(parents=True)
    for clock in (1, 2):
        (data / f"{name(clock)}.IMG").touch()
    list_through(story, copies[0])
    assert [row[0] for row in story.rows("SELECT image_url FROM product ORDER BY 1")] == OWN_URLS


def test_sizes_are_read_at_a_mirror_with_names_in_another_case(story, copies):
    copies[0].write("edrindex.lbl", LABEL.replace("LINE_SAMPLES", "X").replace("LINES", "Y"))
    data = folder(copies[0]) / "volume" / "DATA"
    data.mkdir(parents=True)
    write_pds3_product(data).rename(data / f"{name(1)}.IMG")
    list_through(story, copies[0])
    assert [row[0] for row in story.rows("SELECT image_url FROM product")] == OWN_URLS[:1]
