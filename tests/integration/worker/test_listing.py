"""Listing a run: what is eligible goes into the ledger, the rest is counted."""

import pytest

from fixtures.index_volume import LABEL, Volume, name
from mernet.db import ledger
from mernet.db.ledger import NewRun
from mernet.pds.errors import BadIndexError, PdsError
from mernet.pds.fetch import Fetcher
from mernet.pds.product import Product, ProductName
from mernet.pds.selection import LeftOut, LeftOutReason
from mernet.worker.listing import _list_archive, record_products, to_row
from mernet.worker.task_result import NOTHING_TO_DO, STOPPED, TaskResult

NAME = ProductName.parse("1P128287181EFF0000P2303L2M1")
PRODUCT = Product(
    name=NAME,
    image_url="https://example.org/1p128287181eff0000p2303l2m1.img",
    label_url=None,
    browse_url=None,
    lines=1024,
    line_samples=1024,
    sol=1,
    site=NAME.site,
    drive=NAME.drive,
    start_time=None,
    local_solar_time="15:32:30",
)


@pytest.fixture
def run_id(story, tmp_path):
    return ledger.create_run(story.engine, NewRun(archives=(str(tmp_path),))).run_id


def record(story, run_id, claimant="lister"):
    with Fetcher() as fetcher:
        return record_products(story.engine, run_id, claimant, fetcher, lease_seconds=600)


def listing(entries):
    """A stand-in for `list_products` that finds these products and names left out."""

    def list_products(archives, selection, fetcher, on_left_out, on_row, completeness):
        for row, entry in enumerate(entries, start=1):
            on_row(row)
            if isinstance(entry, LeftOut):
                on_left_out(entry)
            else:
                yield entry

    return list_products


def test_products_are_divided_into_chunks_and_the_rest_is_counted_with_examples(
    story, run_id, monkeypatch
):
    others = [LeftOut(f"other{number}", LeftOutReason.NOT_PANCAM) for number in range(30)]
    monkeypatch.setattr("mernet.worker.listing.list_products", listing([*others, PRODUCT]))
    assert record(story, run_id) == TaskResult("1 products listed, 30 left out")
    run = ledger.get_run(story.engine, run_id)
    assert run.state == "running"
    assert run.rows_read == 31
    assert run.left_out["not Pancam"].count == 30
    assert run.left_out["not Pancam"].examples == tuple(
        f"other{n}" for n in range(ledger.EXAMPLES_KEPT)
    )


def test_a_product_is_stored_as_listed(story, run_id, monkeypatch):
    monkeypatch.setattr("mernet.worker.listing.list_products", listing([PRODUCT]))
    record(story, run_id)
    row = to_row(PRODUCT)
    assert (row.rover, row.site, row.drive, row.sequence) == ("Opportunity", 0, 0, "P2303")
    stored = story.rows("SELECT product_id, rover, sol, local_solar_time, lines FROM product")
    assert stored == [(str(NAME), "Opportunity", 1, "15:32:30", 1024)]


def test_an_archive_that_cannot_be_listed_ends_the_run_with_the_reason(story, run_id, monkeypatch):
    def list_products(*args, **options):
        raise BadIndexError("the label names no table")

    monkeypatch.setattr("mernet.worker.listing.list_products", list_products)
    with pytest.raises(BadIndexError):
        record(story, run_id)
    run = ledger.get_run(story.engine, run_id)
    assert (run.state, run.error) == ("failed", "the label names no table")


@pytest.mark.parametrize(
    ("error", "attempts"),
    [(SystemExit(), 0), (KeyboardInterrupt(), 0), (KeyError("a defect"), 1)],
)
def test_a_listing_that_is_interrupted_is_given_back_and_only_its_own_faults_count(
    story, run_id, monkeypatch, error, attempts
):
    def list_products(*args, **options):
        raise error

    monkeypatch.setattr("mernet.worker.listing.list_products", list_products)
    with pytest.raises(type(error)):
        record(story, run_id)
    sql = "SELECT state, attempts, claimed_by FROM run"
    assert story.rows(sql) == [("listing", attempts, None)]


def test_a_second_message_for_a_listed_run_does_nothing(story, run_id, monkeypatch):
    monkeypatch.setattr("mernet.worker.listing.list_products", listing([PRODUCT]))
    record(story, run_id)
    assert record(story, run_id, claimant="another") == NOTHING_TO_DO
    assert story.rows("SELECT count(*) FROM chunk") == [(1,)]


def test_a_listing_claimed_by_another_worker_is_left_alone(story, run_id, monkeypatch):
    monkeypatch.setattr("mernet.worker.listing.list_products", listing([PRODUCT]))
    ledger.claim_listing(story.engine, run_id, "another", 600, 3)
    assert record(story, run_id) == NOTHING_TO_DO
    assert ledger.get_run(story.engine, run_id).state == "listing"


@pytest.fixture
def volume(tmp_path):
    """A volume whose label promises three rows and which has two."""
    volume = Volume(tmp_path / "volume")
    volume.write("edrindex.lbl", LABEL.replace("OBJECT = COLUMN", "ROWS = 3\r\nOBJECT = COLUMN", 1))
    volume.lists(name(1), name(2))
    return volume


def list_volume(story, volume, **options):
    wanted = NewRun(archives=(str(volume.index.parent),), **options)
    run_id = ledger.create_run(story.engine, wanted).run_id
    return lambda: record(story, run_id), lambda: ledger.get_run(story.engine, run_id)


@pytest.mark.parametrize("cut", [None, len(LABEL) // 2, len(LABEL) - 30])
def test_a_table_or_label_that_is_just_replaced_is_read_again(story, volume, monkeypatch, cut):
    list_it, read_run = list_volume(story, volume)
    label = (volume.index / "edrindex.lbl").read_bytes().decode()
    volume.write("edrindex.lbl", label[:cut])

    def replace(_):
        volume.write("edrindex.lbl", label)
        volume.lists(name(1), name(2), name(3))
        return 0

    monkeypatch.setattr(_list_archive.retry, "wait", replace)
    assert list_it().summary.startswith("3 products listed")
    assert read_run().state == "running"


def test_a_listing_that_ends_early_fails_the_run_with_the_cause(story, volume, monkeypatch):
    monkeypatch.setattr("mernet.worker.listing.SHORT_TABLE_PAUSE", 0)
    list_it, read_run = list_volume(story, volume)
    with pytest.raises(BadIndexError, match="ends after 2 of 3 rows"):
        list_it()
    assert (read_run().state, "ends after 2 of 3 rows" in read_run().error) == ("failed", True)


def test_a_run_that_accepts_it_lists_as_far_as_it_goes(story, volume):
    list_it, read_run = list_volume(story, volume, accept_short_listing=True)
    assert list_it().summary.startswith("2 products listed")
    assert read_run().accept_short_listing


def test_a_defect_in_a_reader_fails_the_run_instead_of_leaving_it_listing(
    story, run_id, tmp_path, monkeypatch
):
    def defect(*_):
        raise RuntimeError("generator raised StopIteration")
        yield

    (tmp_path / "file").touch()
    monkeypatch.setattr("mernet.pds.listing.read_folder", defect)
    with pytest.raises(PdsError):
        record(story, run_id)
    run = ledger.get_run(story.engine, run_id)
    assert (run.state, "generator raised StopIteration" in run.error) == ("failed", True)


@pytest.mark.parametrize("found", [[PRODUCT], BadIndexError("the label names no table")])
def test_a_lister_that_was_stopped_and_lost_its_lease_changes_nothing(
    story, run_id, monkeypatch, found
):
    def list_products(*args, **options):
        story.lose_claims()
        ledger.claim_listing(story.engine, run_id, "another", 600, 3)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr("mernet.worker.listing.list_products", list_products)
    assert record(story, run_id) == STOPPED
    assert ledger.get_run(story.engine, run_id).state == "listing"
    assert story.rows("SELECT count(*) FROM product") == [(0,)]
