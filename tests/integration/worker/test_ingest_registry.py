"""Ingest from a registry search: only what was harvested since, and nothing of it is lost."""

import pytest

from fixtures.index_volume import products_of_run, withdrawn
from fixtures.registry import Registered, calibrated
from mernet.db import classifiers, ledger
from mernet.db.classifiers import NewClassifier
from mernet.db.ledger import NewRun
from mernet.pds.archive import named_archives
from mernet.pds.fetch import Fetcher
from mernet.pds.registry import HARVEST_TIME
from mernet.worker.errors import ArchivesNotListed
from mernet.worker.ingest import ingest
from mernet.worker.listing import record_products

DAYS = [f"2026-11-{day:02d}T05:53:24.611495Z" for day in range(1, 29)]


@pytest.fixture(autouse=True)
def three_days(registry):
    """Each of the first three days a product was harvested."""
    registry.holds(*(Registered(calibrated(day), DAYS[day]) for day in range(3)))


@pytest.fixture
def run_ingest(story, registry):
    """One ingest; gives its report."""

    def run_ingest(*archives, mirror=None):
        wanted = NewRun(archives=archives or (registry.url,), mirror=mirror, products="rdr")
        with Fetcher(attempts=1) as fetcher:
            return ingest(story.engine, wanted, fetcher)

    return run_ingest


def names(*clocks):
    return {calibrated(clock).upper() for clock in clocks}


def test_the_first_ingest_creates_a_run_over_everything(story, run_ingest, registry):
    report = run_ingest()
    assert products_of_run(story, report) == names(0, 1, 2)
    assert report.sentence == "Run 1 contains 3 new products."
    assert "q" not in registry.queries[0]


def test_without_new_products_there_is_no_run_and_one_sentence(story, run_ingest):
    run_ingest()
    report = run_ingest()
    assert report.run is None
    assert report.sentence == "The registry search found nothing new."
    assert story.rows("SELECT count(*) FROM run") == [(1,)]


def test_later_ingests_ask_for_what_was_harvested_since_and_fetch_no_other_labels(
    story, run_ingest, registry
):
    run_ingest()
    registry.labels_asked.clear()
    registry.holds(Registered(calibrated(3), DAYS[3]))
    assert products_of_run(story, run_ingest()) == names(3)
    assert registry.queries[-1]["q"] == f'({HARVEST_TIME} ge "2026-11-03T05:53:24.611Z")'
    assert sorted(registry.labels_asked) == [calibrated(2), calibrated(3)]


def test_a_product_with_the_last_harvest_time_that_comes_later_is_not_lost(
    story, run_ingest, registry
):
    run_ingest()
    registry.holds(Registered(calibrated(3), DAYS[2]))
    assert products_of_run(story, run_ingest()) == names(3)


def test_what_is_not_in_an_increment_is_not_withdrawn(story, run_ingest, registry):
    run_ingest()
    registry.holds(Registered(calibrated(3), DAYS[3]))
    assert run_ingest().withdrawn == 0
    assert withdrawn(story) == []


def test_what_the_registry_no_longer_has_is_not_withdrawn(story, run_ingest, registry):
    run_ingest()
    del registry.products[calibrated(2)]
    assert run_ingest().withdrawn == 0
    assert withdrawn(story) == []


def test_a_product_with_a_missing_label_is_checked_until_the_label_exists(
    story, run_ingest, registry
):
    registry.holds(Registered(calibrated(1), DAYS[1], has_label=False))
    assert products_of_run(story, run_ingest()) == names(0, 2)
    registry.holds(Registered(calibrated(3), DAYS[3]))
    assert products_of_run(story, run_ingest()) == names(3)
    registry.gains_label(calibrated(1))
    assert products_of_run(story, run_ingest()) == names(1)
    registry.labels_asked.clear()
    assert run_ingest().run is None
    assert registry.labels_asked == [calibrated(3)]


def test_an_interrupted_search_starts_again_at_the_same_time(
    story, run_ingest, registry, monkeypatch
):
    run_ingest()
    registry.holds(*(Registered(calibrated(day), DAYS[day]) for day in range(3, 6)))
    with monkeypatch.context() as patch:
        patch.setattr("mernet.pds.registry.PAGE", 2)
        patch.setattr(registry, "most", 0)
        with pytest.raises(ArchivesNotListed, match="ended after 0 of 4 products"):
            run_ingest()
    assert products_of_run(story, run_ingest()) == names(3, 4, 5)


def test_a_new_classifier_gets_all_products(story, run_ingest, registry):
    run_ingest()
    classifiers.add(story.engine, NewClassifier("b" * 64, "second", "/models/second", 0.9, {}))
    classifiers.promote(story.engine, "second")
    assert products_of_run(story, run_ingest()) == names(0, 1, 2)


def test_a_classifier_that_is_promoted_while_the_search_is_read_gets_all_products(
    story, run_ingest, registry
):
    run_ingest()
    registry.holds(Registered(calibrated(3), DAYS[3]))
    classifiers.add(story.engine, NewClassifier("b" * 64, "second", "/models/second", 0.9, {}))
    search = registry._search

    def promote_meanwhile(query):
        classifiers.promote(story.engine, "second")
        registry._search = search
        return search(query)

    registry._search = promote_meanwhile
    assert products_of_run(story, run_ingest()) == names(2, 3)
    assert products_of_run(story, run_ingest()) == names(0, 1)


def test_if_a_run_is_cancelled_while_the_search_is_read_the_next_ingest_gets_all_products(
    story, run_ingest, registry
):
    first = run_ingest()
    registry.holds(Registered(calibrated(3), DAYS[3]))
    search = registry._search

    def cancel_meanwhile(query):
        ledger.cancel_run(story.engine, first.run.run_id)
        registry._search = search
        return search(query)

    registry._search = cancel_meanwhile
    assert products_of_run(story, run_ingest()) == names(2, 3)
    assert products_of_run(story, run_ingest()) == names(0, 1)


def test_a_full_run_always_lists_all_products(story, run_ingest, registry):
    run_ingest()
    full = ledger.create_run(
        story.engine, NewRun(archives=(registry.url,), products="rdr", reclassify=True)
    )
    with Fetcher(attempts=1) as fetcher:
        record_products(story.engine, full.run_id, "lister", fetcher, lease_seconds=600)
    assert ledger.get_run(story.engine, full.run_id).rows_read == 3
    assert "q" not in registry.queries[-1]


def test_a_named_search_is_found_at_a_mirror(story, run_ingest, registry, monkeypatch):
    monkeypatch.setattr("fixtures.registry.COLLECTION", spirit_collection())
    assert (
        len(
            products_of_run(
                story, run_ingest("spirit-registry", mirror=f"{registry.base}/api/search/1")
            )
        )
        == 3
    )


def spirit_collection():
    return named_archives()["spirit-registry"].path.split("/")[1]


def test_a_volume_beside_a_search_still_reports_withdrawals(story, run_ingest, registry, tmp_path):
    folder = tmp_path / "rest"
    folder.mkdir()
    (folder / "notes.txt").write_text("nothing to see")
    run_ingest(str(folder), registry.url)
    story.execute("UPDATE product SET source = :source WHERE product_id = :name",
                  source=f"{folder.as_uri()}/", name=calibrated(0).upper())  # fmt: skip
    del registry.products[calibrated(0)]
    assert run_ingest(str(folder), registry.url).withdrawn == 1
    assert withdrawn(story) == [calibrated(0).upper()]


def test_what_a_volume_withdraws_is_at_once_where_a_search_has_it(
    story, run_ingest, registry, tmp_path
):
    folder = tmp_path / "rest"
    folder.mkdir()
    (folder / "notes.txt").write_text("nothing to see")
    run_ingest(registry.url)
    story.execute("UPDATE product SET source = :source, collection = 'archive'"
                  " WHERE product_id = :name",
                  source=f"{folder.as_uri()}/", name=calibrated(0).upper())  # fmt: skip
    assert run_ingest(str(folder), registry.url).withdrawn == 0
    assert story.rows("SELECT DISTINCT source, withdrawn_at FROM product") == [(registry.url, None)]
