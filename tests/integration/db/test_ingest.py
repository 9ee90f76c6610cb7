"""Ingest in the ledger: new products become a run; products no longer listed are withdrawn."""

import pytest
import sqlalchemy as sa

from mernet.db import classifiers, ledger
from mernet.db.classifiers import NewClassifier
from mernet.db.errors import ListingRefused
from mernet.db.ledger import ListedArchives, ListedFile, NewRun, RunKind

INDEX = "https://example.org/mer1po_0xxx/"
WANTED = NewRun(archives=(INDEX,), chunk_size=4)


def listed_files(version):
    return (ListedFile(INDEX, f"{INDEX}index/edrindex.tab", version, None, "c" * 64),)


@pytest.fixture
def ingest(story):
    """Return a function that ingests the products of an index and returns the result."""

    def ingest(products, wanted=WANTED, sources=(INDEX,), version='"v1"'):
        found = ListedArchives(sources, listed_files(version), rows_read=100, left_out={})
        return ledger.record_new(story.engine, wanted, products, found)

    return ingest


@pytest.fixture
def listed(product):
    """Return a function that creates a product of the index."""

    def listed(clock, version="1", **facts):
        return product(clock, version, **{"source": INDEX} | facts)

    return listed


def members(story, run_id):
    return {
        name for (name,) in story.rows(f"SELECT product_id FROM run_product WHERE run_id={run_id}")
    }


def withdrawn(story):
    sql = "SELECT product_id FROM product WHERE withdrawn_at IS NOT NULL"
    return {name for (name,) in story.rows(sql)}


def names(products):
    return {each.product_id for each in products}


def found(story):
    """Return the products that the view shows."""
    return {name for (name,) in story.rows("SELECT product_id FROM atlas_search")}


def test_thirty_new_products_five_new_versions_and_two_withdrawals_are_distinguished(
    story, ingest, listed
):
    before = [listed(clock) for clock in range(1, 41)]
    story.classified(before, (0.95, *[0.1] * 24))
    new = [listed(clock) for clock in range(101, 131)]
    versions = [listed(clock, "2") for clock in range(1, 6)]
    kept = before[5:38]
    made = ingest([*kept, *versions, *new])
    assert (made.new, made.withdrawn) == (35, 2)
    assert made.run.kind is RunKind.NEW
    assert made.run.state == "running"
    assert members(story, made.run.run_id) == names([*new, *versions])
    assert withdrawn(story) == names(before[38:])
    # An old version stays in the search until its successor is classified.
    assert found(story) == names(before[:38])


def test_the_run_has_chunks_that_are_to_be_sent(story, ingest, listed):
    made = ingest([listed(clock) for clock in range(1, 7)])
    assert ledger.take_unsent(story.engine, made.run.run_id, 99) == [1, 2]
    assert made.run.rows_read == 100


def test_without_new_products_there_is_no_run(story, ingest, listed):
    products = [listed(1), listed(2)]
    story.classified(products, (0.95, *[0.1] * 24))
    made = ingest(products)
    assert (made.run, made.new, made.withdrawn) == (None, 0, 0)
    assert story.rows("SELECT count(*) FROM run") == [(1,)]


def test_a_failed_product_is_not_new(story, ingest, listed):
    story.classified([listed(1)], (0.95, *[0.1] * 24))
    story.execute("DELETE FROM classification")
    story.execute(
        "UPDATE outcome SET state = 'failed', scores = NULL, reason = 'not found', detail = 'gone'"
    )
    assert ingest([listed(1)]).run is None


def test_products_of_an_open_run_are_not_new(story, ingest, listed):
    first = ingest([listed(1), listed(2)])
    second = ingest([listed(1), listed(2), listed(3)])
    assert members(story, second.run.run_id) == names([listed(3)])
    assert first.run.state == "running"


def test_products_that_a_cancelled_run_did_not_classify_are_new_again(story, ingest, listed):
    first = ingest([listed(1)])
    ledger.cancel_run(story.engine, first.run.run_id)
    assert ingest([listed(1)]).new == 1


def test_products_that_only_another_classifier_scored_are_new(story, ingest, listed):
    story.classified([listed(1)], (0.95, *[0.1] * 24))
    classifiers.add(story.engine, NewClassifier("b" * 64, "second", "/models/second", 0.9, {}))
    classifiers.promote(story.engine, "second")
    assert ingest([listed(1)]).new == 1


def test_a_withdrawn_product_leaves_the_search_and_comes_back_when_it_is_listed_again(
    story, ingest, listed
):
    products = [listed(1), listed(2)]
    story.classified(products, (0.95, *[0.1] * 24))
    assert ingest(products[:1]).withdrawn == 1
    assert found(story) == names(products[:1])
    assert story.rows("SELECT count(*) FROM outcome") == [(2,)]
    back = ingest(products)
    assert (back.run, back.withdrawn) == (None, 0)
    assert found(story) == names(products)


def test_a_full_listing_brings_a_withdrawn_product_back_too(story, ingest, listed):
    story.classified([listed(1)], (0.95, *[0.1] * 24))
    ingest([listed(2)])
    assert found(story) == set()
    story.listed_products([listed(1)])
    assert found(story) == names([listed(1)])


def test_a_product_is_withdrawn_once(story, ingest, listed):
    ingest([listed(1), listed(2)])
    assert [ingest([listed(1)]).withdrawn for _ in range(2)] == [1, 0]


def test_when_the_newest_version_is_withdrawn_the_search_shows_the_one_before(
    story, ingest, listed
):
    story.classified([listed(1, "1"), listed(1, "2")], (0.95, *[0.1] * 24))
    assert found(story) == names([listed(1, "2")])
    ingest([listed(1, "1")])
    assert withdrawn(story) == names([listed(1, "2")])
    assert found(story) == names([listed(1, "1")])


def test_a_listing_withdraws_no_products_of_another_archive(story, ingest, listed):
    elsewhere = listed(1, source="https://example.org/mer2po_0xxx/")
    unknown = listed(2, source=None)
    ingest([elsewhere, unknown])
    assert ingest([listed(3)]).withdrawn == 0


def test_a_listing_of_raw_products_withdraws_no_derived_ones(story, ingest, listed):
    derived = listed(1, product_id="1P000000001FFL0000P2600L2M1")
    ingest([derived, listed(2)], NewRun(archives=(INDEX,), products="any"))
    ingest([listed(3)])
    assert withdrawn(story) == names([listed(2)])


def test_a_version_that_another_archive_supersedes_is_not_new(story, ingest, listed):
    story.listed_products([listed(1, "2", source="https://example.org/other/")])
    assert ingest([listed(1, "1")]).run is None


def test_a_withdrawn_product_is_not_retried(story, ingest, listed):
    story.classified([listed(1), listed(2)], (0.95, *[0.1] * 24))
    story.execute("DELETE FROM classification")
    story.execute(
        "UPDATE outcome SET state = 'failed', scores = NULL, reason = 'not found', detail = 'gone'"
    )
    ingest([listed(1)])
    retried = ledger.create_retry(story.engine)
    assert members(story, retried.run_id) == names([listed(1)])


def test_the_listed_files_are_known_afterwards(story, ingest, listed):
    assert ledger.known_files(story.engine, "a" * 64, INDEX, "edr") == []
    ingest([listed(1)], version='"v1"')
    ingest([listed(1)], version='"v2"')
    assert ledger.known_files(story.engine, "a" * 64, INDEX, "edr") == list(listed_files('"v2"'))


def test_files_are_known_for_one_classifier_and_one_kind_of_product(story, ingest, listed):
    ingest([listed(1)])
    assert ledger.known_files(story.engine, "b" * 64, INDEX, "edr") == []
    assert ledger.known_files(story.engine, "a" * 64, INDEX, "any") == []


def test_an_unchanged_file_gets_its_new_etag_and_the_time_of_the_check(story, ingest, listed):
    ingest([listed(1)])
    story.execute("UPDATE listing_state SET checked_at = '2004-01-25'")
    ledger.note_unchanged(story.engine, "a" * 64, "edr", listed_files('"mirror"'))
    assert story.rows("SELECT etag, checked_at > '2026-01-01' FROM listing_state") == [
        ('"mirror"', True)
    ]


def test_a_product_that_one_archive_withdraws_is_found_where_another_lists_it(
    story, ingest, listed
):
    other = "https://other.example/"
    files = (ListedFile(other, f"{other}index/edrindex.tab", '"v1"', None, "d" * 64),)
    theirs = [listed(1, source=other, image_url=f"{other}1.img")]
    listing = ListedArchives((other,), files, rows_read=1, left_out={})
    story.classified([listed(1), listed(2)], (0.95, *[0.1] * 24))
    ledger.record_new(story.engine, WANTED, theirs, listing)
    assert ledger.known_files(story.engine, "a" * 64, other, "edr") == list(files)
    assert ingest([listed(2)]).withdrawn == 1
    assert ledger.known_files(story.engine, "a" * 64, other, "edr") == [], "it is read again"
    ledger.record_new(story.engine, WANTED, theirs, listing)
    assert found(story) == names([listed(1), listed(2)])
    assert ledger.known_files(story.engine, "a" * 64, INDEX, "edr") == list(listed_files('"v1"'))


def test_an_interrupted_ingest_leaves_nothing(story, ingest, listed, monkeypatch):
    def enrol(connection, run_id):
        raise sa.exc.ArgumentError("broken off")

    with monkeypatch.context() as patch:
        patch.setattr("mernet.db.ledger.ingest.enrol", enrol)
        with pytest.raises(sa.exc.ArgumentError):
            ingest([listed(1)])
    assert ledger.known_files(story.engine, "a" * 64, INDEX, "edr") == []
    assert story.rows("SELECT count(*) FROM run") == [(0,)]
    assert ingest([listed(1)]).new == 1


def test_a_product_that_breaks_a_rule_is_named(ingest, listed):
    with pytest.raises(ListingRefused, match="1P000000002"):
        ingest([listed(1), listed(2, lines=0)])


def test_the_read_only_role_still_sees_the_search(story):
    with story.engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL ROLE mernet_atlas")
        assert connection.exec_driver_sql("SELECT count(*) FROM atlas_search").scalar_one() == 0


KNOWN_FILE = (
    "INSERT INTO listing_state (classifier, source, products, url, sha256)"
    " VALUES (:classifier, :source, :products, :url, :sha256)"
)
KNOWN_FILE_VALUES = {
    "classifier": "a" * 64,
    "source": INDEX,
    "products": "edr",
    "url": f"{INDEX}index/edrindex.tab",
    "sha256": "c" * 64,
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"classifier": "f" * 64},
        {"source": ""},
        {"products": "all"},
        {"url": ""},
        {"sha256": "C" * 64},
    ],
)
def test_a_known_file_with_a_wrong_value_is_refused(story, wrong):
    assert not story.is_refused(KNOWN_FILE, **KNOWN_FILE_VALUES)
    assert story.is_refused(KNOWN_FILE, **KNOWN_FILE_VALUES | wrong)
