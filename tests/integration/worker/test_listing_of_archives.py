"""A run over several archives: one that cannot be listed does not keep the others from it."""

import pytest

from fixtures.index_volume import LABEL, Volume, name
from mernet.db import ledger, obstacles
from mernet.db.errors import ListingRefused
from mernet.db.ledger import NewRun
from mernet.pds.errors import PdsError
from mernet.pds.fetch import Fetcher
from mernet.pds.selection import LeftOutReason
from mernet.worker import listing, listing_source
from mernet.worker.listing import WORKERS_LOST, record_products

DOWN = "http://127.0.0.1:9/volume/"


@pytest.fixture
def good(tmp_path):
    volume = Volume(tmp_path / "good")
    volume.lists(name(1), name(2))
    return volume


def html_for_a_table(volume):
    volume.write("edrindex.tab", "<html>Down for maintenance</html>\r\n")


def short_table(volume):
    volume.write("edrindex.lbl", LABEL.replace("OBJECT = COLUMN", "ROWS = 9\r\nOBJECT = COLUMN", 1))


def no_label(volume):
    (volume.index / "edrindex.lbl").unlink()


HARMS = [html_for_a_table, short_table, no_label]


@pytest.fixture
def make_bad(tmp_path):
    def make(harm):
        volume = Volume(tmp_path / "bad")
        volume.lists(name(3))
        harm(volume)
        return str(tmp_path / "bad")

    return make


def start(story, *archives):
    return ledger.create_run(story.engine, NewRun(archives=archives)).run_id


def record(story, run_id, claimant="lister"):
    with Fetcher(attempts=1) as fetcher:
        return record_products(story.engine, run_id, claimant, fetcher, lease_seconds=600)


def members(story, run_id):
    sql = "SELECT product_id FROM run_product WHERE run_id = :run_id"
    return {each for (each,) in story.rows(sql, run_id=run_id)}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("is_first", [True, False])
def test_the_others_are_listed_and_worked_on_and_the_bad_one_is_named(
    story, tmp_path, good, make_bad, harm, is_first
):
    bad = make_bad(harm)
    archives = [str(tmp_path / "good"), bad]
    run_id = start(story, *(reversed(archives) if is_first else archives))
    assert "2 products listed" in record(story, run_id).summary
    assert members(story, run_id) == {name(1), name(2)}
    run = ledger.get_run(story.engine, run_id)
    assert (run.state, run.unlisted) == ("running", ())
    assert run.listing_error.startswith(f"The archive {bad} is not listed: ")
    assert story.publish(run_id, 1)
    run = ledger.get_run(story.engine, run_id)
    assert (run.state, run.error) == ("failed", run.listing_error)
    assert not ledger.reconcile(story.engine, run_id).ok


def test_a_path_that_is_not_there_any_more_is_a_bad_archive(story, tmp_path, good):
    run_id = start(story, str(tmp_path / "unmounted"), str(tmp_path / "good"))
    record(story, run_id)
    assert members(story, run_id) == {name(1), name(2)}
    assert "unmounted" in ledger.get_run(story.engine, run_id).listing_error


def test_an_archive_whose_product_the_ledger_refuses_does_not_take_the_others_with_it(
    story, tmp_path, good, make_bad, monkeypatch
):
    bad = make_bad(lambda volume: None)

    def refuse(listed, *args, **options):
        sql = "SELECT source FROM listed WHERE source LIKE '%/bad/' LIMIT 1"
        source = listed.connection.exec_driver_sql(sql.replace("%", "%%")).scalar()
        if source:
            raise ListingRefused("a size is beyond all bounds", source)

    monkeypatch.setattr("mernet.db.ledger.listing.merge_into_products", refuse)
    monkeypatch.setattr("mernet.db.ledger.listing.enrol", lambda *args: None)
    run_id = start(story, bad, str(tmp_path / "good"))
    assert "2 products listed" in record(story, run_id).summary
    assert "beyond all bounds" in ledger.get_run(story.engine, run_id).listing_error


def test_if_no_archive_can_be_listed_the_run_fails_at_once_and_names_all(story, tmp_path, make_bad):
    run_id = start(story, make_bad(no_label), str(tmp_path / "unmounted"))
    with pytest.raises(PdsError):
        record(story, run_id)
    run = ledger.get_run(story.engine, run_id)
    assert run.state == "failed"
    assert "/bad is not listed" in run.error
    assert "unmounted is not listed" in run.error


@pytest.mark.parametrize("is_first", [True, False])
def test_an_archive_whose_host_is_down_waits_alone_and_is_listed_when_it_answers(
    story, tmp_path, good, url, is_first
):
    archives = [str(tmp_path / "good"), DOWN]
    run_id = start(story, *(reversed(archives) if is_first else archives))
    assert "waits" in record(story, run_id).summary
    assert ledger.take_unsent(story.engine, run_id, 8) == [1]
    assert story.publish(run_id, 1)
    run = ledger.get_run(story.engine, run_id)
    assert (run.state, run.unlisted) == ("running", (DOWN,))
    assert not ledger.reconcile(story.engine, run_id).ok
    [found] = obstacles.current(story.engine)
    assert found.run_ids == (run_id,)

    story.execute("UPDATE run SET unlisted = ARRAY[:url], archives = ARRAY[:url]", url=url)
    obstacles.clear(story.engine, found.kind, found.subject)
    assert ledger.stale(story.engine, 600, 600) == [(run_id, None)]
    assert "3 products listed" in record(story, run_id, "later").summary
    assert members(story, run_id) == {name(1), name(2), name(3)}
    assert story.publish(run_id, 2)
    assert ledger.get_run(story.engine, run_id).state == "finished"
    assert ledger.reconcile(story.engine, run_id).ok


def test_archives_on_one_host_that_is_down_cost_one_probe(story, monkeypatch):
    asked = []

    def why_archives_fail(engine, archives, *args):
        asked.append(archives)
        return original(engine, archives, *args)

    original = listing_source.why_archives_fail
    for module in (listing, listing_source):
        monkeypatch.setattr(module, "why_archives_fail", why_archives_fail)
    run_id = start(story, DOWN, DOWN.replace("volume", "other"), DOWN.replace("volume", "third"))
    record(story, run_id)
    assert len(asked) == 1
    assert len(ledger.get_run(story.engine, run_id).unlisted) == 3


def test_a_bad_archive_and_one_that_waits_end_neither_the_run_nor_each_other(story, make_bad):
    run_id = start(story, make_bad(no_label), DOWN)
    assert "waits" in record(story, run_id).summary
    run = ledger.get_run(story.engine, run_id)
    assert (run.state, run.unlisted) == ("listing", (DOWN,))
    assert "/bad is not listed" in run.listing_error


def test_an_archive_that_ends_its_worker_is_found_and_the_others_are_listed(
    story, tmp_path, good, make_bad, monkeypatch
):
    bad = make_bad(lambda volume: None)
    list_products = listing.list_products

    def end_the_worker(archives, *args, **options):
        if archives[0].url.endswith("/bad/"):
            raise SystemError("killed")
        return list_products(archives, *args, **options)

    monkeypatch.setattr("mernet.worker.listing.list_products", end_the_worker)
    run_id = start(story, bad, str(tmp_path / "good"))
    for attempt in range(WORKERS_LOST):
        with pytest.raises(SystemError):
            record(story, run_id, f"lister {attempt}")
    record(story, run_id, "who gives it up")
    assert ledger.get_run(story.engine, run_id).unlisted == (str(tmp_path / "good"),)
    assert "2 products listed" in record(story, run_id, "the next").summary


def test_three_workers_that_are_killed_from_outside_do_not_fail_the_run(story, tmp_path, good):
    run_id = start(story, str(tmp_path / "good"))
    for claimant in ("one", "two", "three"):
        ledger.claim_listing(story.engine, run_id, claimant, 600, WORKERS_LOST)
        story.lose_claims()
    assert "2 products listed" in record(story, run_id).summary


def test_only_the_highest_version_in_all_archives_is_a_member(story, tmp_path, good):
    other = Volume(tmp_path / "other")
    other.lists(name(1, version=2))
    run_id = start(story, str(tmp_path / "good"), str(tmp_path / "other"))
    record(story, run_id)
    assert members(story, run_id) == {name(1, version=2), name(2)}
    assert ledger.get_run(story.engine, run_id).left_out[LeftOutReason.SUPERSEDED].count == 1
