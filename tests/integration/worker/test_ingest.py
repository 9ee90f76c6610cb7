"""Ingest over HTTP: listed only when it has changed, one at a time, nothing lost on the way."""

from fixtures.listed import LABEL, Volume, name, taken_up, withdrawn
from mernet.db import ledger
from mernet.db.ledger import NewRun
from mernet.pds.fetch import Fetcher
from mernet.worker.ingest import BUSY, UNCHANGED


def test_the_first_look_takes_up_everything_and_says_so(story, look, url):
    report = look()
    assert taken_up(story, report) == {name(1), name(2), name(3)}
    assert report.sentence == "Run 1 contains 3 new products."
    assert report.run.archives == (url,)
    assert (report.run.rows_read, report.run.left_out) == (3, {})


def test_an_index_that_has_not_changed_is_not_listed(story, look, monkeypatch):
    look()
    monkeypatch.setattr("mernet.worker.ingest.list_products", None)
    report = look()
    assert (report.run, report.sentence) == (None, UNCHANGED)


def test_only_what_is_new_is_taken_up(story, look, volume):
    look()
    volume.lists(name(1), name(2, version=2), name(4))
    report = look()
    assert taken_up(story, report) == {name(2, version=2), name(4)}
    assert report.withdrawn == 1
    assert withdrawn(story) == [name(3)]


def test_a_changed_index_with_nothing_new_makes_no_run_and_is_then_known(story, look, volume):
    look()
    volume.lists(name(3), name(2), name(1))
    report = look()
    assert report.run is None
    assert "No listed product is new" in report.sentence
    assert look().sentence == UNCHANGED


def test_a_changed_label_is_a_changed_listing(look, volume):
    look()
    volume.write("edrindex.lbl", f"{LABEL}\r\n")
    assert "No listed product is new" in look().sentence


def test_of_two_at_once_the_second_does_nothing(story, look):
    with ledger.exclusive(story.engine, "ingest") as alone:
        assert alone
        report = look()
    assert (report.run, report.sentence) == (None, BUSY)
    assert look().run is not None


def test_of_two_archives_only_the_changed_one_is_listed(story, look, volume, url, tmp_path):
    other = Volume(tmp_path / "other")
    other.lists(name(11), name(12))
    both = (url, url.replace("volume", "other"))
    assert len(taken_up(story, look(*both))) == 5
    other.lists(name(11), name(13))
    report = look(*both)
    assert taken_up(story, report) == {name(13)}
    assert report.run.rows_read == 2
    assert withdrawn(story) == [name(12)]


def test_an_archive_named_twice_is_looked_at_once(story, look, url):
    assert look(url, url).run.rows_read == 3


def test_products_that_a_full_run_listed_are_not_new(story, look, volume, url, monkeypatch):
    from mernet.worker.listing import record_products

    full = ledger.create_run(story.engine, NewRun(archives=(url,)))
    with Fetcher(attempts=1) as fetcher:
        record_products(story.engine, full.run_id, "lister", fetcher, lease_seconds=600)
    volume.lists(name(1), name(2), name(4))
    report = look()
    assert taken_up(story, report) == {name(4)}
    assert report.withdrawn == 1


def test_a_folder_on_disk_is_listed_at_every_look(story, look, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "notes.txt").write_text("nothing to see")
    assert "No listed product is new" in look(str(folder)).sentence
    assert "No listed product is new" in look(str(folder)).sentence
