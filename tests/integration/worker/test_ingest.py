"""Ingest over HTTP: listed only when it has changed, one at a time, nothing lost on the way."""

import pytest

from fixtures.index_volume import LABEL, Volume, name, products_of_run, withdrawn
from mernet.db import ledger
from mernet.db.errors import LockHeld, LockLost
from mernet.db.ledger import ListedArchives, NewRun
from mernet.pds.errors import ForbiddenError
from mernet.pds.fetch import Fetcher
from mernet.worker.errors import ArchivesNotListed
from mernet.worker.held_lock import hold_lock
from mernet.worker.ingest import UNCHANGED, ArchiveCheck, ingest

SOURCES = "SELECT source FROM product WHERE withdrawn_at IS NULL ORDER BY product_id"


def test_the_first_ingest_creates_a_run_over_everything(story, run_ingest, url):
    report = run_ingest()
    assert products_of_run(story, report) == {name(1), name(2), name(3)}
    assert report.sentence == "Run 1 contains 3 new products."
    assert report.run.archives == (url,)
    assert (report.run.rows_read, report.run.left_out) == (3, {})


def test_an_index_that_has_not_changed_is_not_listed(story, run_ingest, monkeypatch):
    run_ingest()
    monkeypatch.setattr("mernet.worker.ingest.list_products", None)
    report = run_ingest()
    assert (report.run, report.sentence) == (None, UNCHANGED)


def test_a_later_run_contains_only_what_is_new(story, run_ingest, volume):
    run_ingest()
    volume.lists(name(1), name(2, version=2), name(4))
    report = run_ingest()
    assert products_of_run(story, report) == {name(2, version=2), name(4)}
    assert report.withdrawn == 1
    assert withdrawn(story) == [name(3)]


def test_a_changed_index_with_nothing_new_creates_no_run_and_is_then_known(
    story, run_ingest, volume
):
    run_ingest()
    volume.lists(name(3), name(2), name(1))
    report = run_ingest()
    assert report.run is None
    assert "No listed product is new" in report.sentence
    assert run_ingest().sentence == UNCHANGED


def test_a_changed_label_is_a_changed_listing(run_ingest, volume):
    run_ingest()
    volume.write("edrindex.lbl", f"{LABEL}\r\n")
    assert "No listed product is new" in run_ingest().sentence


def test_of_two_ingests_at_once_the_second_says_who_runs_and_since_when(story, run_ingest):
    with (
        hold_lock(story.engine, "ingest") as holder,
        pytest.raises(LockHeld, match=r"Another ingest is running since \d{4}-.* UTC") as refused,
    ):
        run_ingest()
    assert holder in str(refused.value)
    assert run_ingest().run is not None


def test_an_ingest_takes_over_from_one_that_sends_no_heartbeats_and_that_one_changes_nothing(
    story, run_ingest, url
):
    assert ledger.take_lock(story.engine, "ingest", "stopped", 30) is None
    story.execute("UPDATE service_lock SET heartbeat_at = now() - interval '31 seconds'")
    assert run_ingest().run is not None
    nothing = ListedArchives((url,), (), 0, {})
    with pytest.raises(LockLost, match="lost the lock of the ingest"):
        ledger.record_new(story.engine, NewRun((url,)), [], nothing, True, "stopped")
    assert story.rows("SELECT count(*) FROM product WHERE withdrawn_at IS NOT NULL") == [(0,)]


def test_of_two_archives_only_the_changed_one_is_listed(story, run_ingest, volume, url, tmp_path):
    other = Volume(tmp_path / "other")
    other.lists(name(11), name(12))
    both = (url, url.replace("volume", "other"))
    assert len(products_of_run(story, run_ingest(*both))) == 5
    other.lists(name(11), name(12), name(13))
    report = run_ingest(*both)
    assert products_of_run(story, report) == {name(13)}
    assert report.run.rows_read == 3
    other.lists(name(11), name(13))
    run_ingest(*both)
    assert withdrawn(story) == [name(12)]


@pytest.fixture
def with_copy(url, tmp_path):
    """A volume, and another one with its third product."""
    other = Volume(tmp_path / "other")
    other.lists(name(3))
    return url, url.replace("volume", "other")


def test_what_an_archive_withdraws_is_at_once_where_an_unchanged_one_lists_it(
    story, run_ingest, volume, with_copy
):
    assert story.publish(run_ingest(*with_copy).run.run_id, 1)
    outcomes = story.rows("SELECT * FROM outcome ORDER BY product_id")
    volume.lists(name(1), name(2))
    report = run_ingest(*with_copy)
    assert (report.withdrawn, withdrawn(story)) == (0, [])
    assert story.rows(SOURCES) == [(with_copy[0],), (with_copy[0],), (with_copy[1],)]
    assert story.rows("SELECT * FROM outcome ORDER BY product_id") == outcomes
    assert run_ingest(*with_copy).sentence == UNCHANGED


def test_what_an_archive_withdraws_is_read_at_the_next_check_where_another_lists_it(
    story, run_ingest, volume, with_copy, tmp_path
):
    run_ingest(*with_copy)
    volume.lists(name(1), name(2))
    (tmp_path / "other").rename(tmp_path / "away")
    report = run_ingest(*with_copy)
    assert report.not_listed
    assert withdrawn(story) == [name(3)]
    (tmp_path / "away").rename(tmp_path / "other")
    run_ingest(*with_copy)
    assert story.rows(SOURCES) == [(with_copy[0],), (with_copy[0],), (with_copy[1],)]


def test_an_archive_that_cannot_be_read_in_full_does_not_keep_the_others_from_being_ingested(
    story, run_ingest, volume, with_copy, monkeypatch
):
    run_ingest(*with_copy)
    volume.lists(name(1), name(2), name(4))
    monkeypatch.setattr(ArchiveCheck, "_list_in_full", refuse)
    report = run_ingest(*with_copy)
    assert "It cannot be read in full." in report.failure
    assert (products_of_run(story, report), withdrawn(story)) == ({name(4)}, [name(3)])
    monkeypatch.undo()
    run_ingest(*with_copy)
    assert (products_of_run(story, report), withdrawn(story)) == ({name(4)}, [])


def refuse(*_):
    raise ForbiddenError("It cannot be read in full.")


def test_an_archive_named_twice_is_listed_once(story, run_ingest, url):
    assert run_ingest(url, url).run.rows_read == 3


def test_products_that_a_full_run_listed_are_not_new(story, run_ingest, volume, url, monkeypatch):
    from mernet.worker.listing import record_products

    full = ledger.create_run(story.engine, NewRun(archives=(url,)))
    with Fetcher(attempts=1) as fetcher:
        record_products(story.engine, full.run_id, "lister", fetcher, lease_seconds=600)
    volume.lists(name(1), name(2), name(4))
    report = run_ingest()
    assert products_of_run(story, report) == {name(4)}
    assert report.withdrawn == 1


def test_a_folder_on_disk_is_listed_at_every_ingest(story, run_ingest, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "notes.txt").write_text("nothing to see")
    assert "No listed product is new" in run_ingest(str(folder)).sentence
    assert "No listed product is new" in run_ingest(str(folder)).sentence


def test_a_short_listing_is_refused_and_if_accepted_withdraws_nothing(
    story, run_ingest, volume, url, caplog
):
    run_ingest()
    promise = LABEL.replace("OBJECT = COLUMN", "ROWS = 3\r\nOBJECT = COLUMN", 1)
    volume.write("edrindex.lbl", promise)
    volume.lists(name(1), name(4))
    with pytest.raises(ArchivesNotListed, match="ends after 2 of 3 rows"):
        run_ingest()
    wanted = NewRun(archives=(url,), accept_short_listing=True)
    with Fetcher() as fetcher:
        report = ingest(story.engine, wanted, fetcher)
    assert products_of_run(story, report) == {name(4)}
    assert (report.withdrawn, withdrawn(story)) == (0, [])
    assert report.run.accept_short_listing


def test_one_archive_with_a_defect_does_not_keep_the_others_from_being_listed(
    story, volume, url, tmp_path
):
    damaged = Volume(tmp_path / "damaged")
    damaged.write("edrindex.lbl", "A=1=2=3")
    wanted = NewRun(archives=(str(tmp_path / "damaged"), url))
    with Fetcher() as fetcher:
        report = ingest(story.engine, wanted, fetcher)
    assert products_of_run(story, report) == {name(1), name(2), name(3)}
    assert report.failure.startswith("1 of 2 archives could not be listed")
