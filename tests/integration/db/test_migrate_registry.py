"""To known registry searches and back, with rows in the tables."""

from datetime import UTC, datetime

import pytest
from alembic import command

from fixtures.ledger import make_product, move
from mernet.db import ledger, migrate
from mernet.db.ledger import Harvested, ListedArchives, ListedFile, NewRun

BEFORE = "0004"
CLASSIFIER = "a" * 64
INDEX, SEARCH = "https://example.org/mer1po_0xxx/", "https://example.org/products/urn:x:y/members"
FILE = ListedFile(INDEX, f"{INDEX}index/edrindex.tab", '"v1"', None, "c" * 64)
UP_TO = datetime(2026, 11, 17, 5, 53, 24, 611000, UTC)
ROW = (
    "INSERT INTO listing_state (classifier, source, products, url, sha256, harvested_to)"
    " VALUES (:classifier, :source, 'rdr', :source, :sha256, :harvested_to)"
)


@pytest.fixture
def old(make_old_tables):
    """The tables as they were before, with an index that was listed."""
    story = make_old_tables(BEFORE)
    story.execute(
        "INSERT INTO listing_state (classifier, source, products, url, etag, sha256)"
        " VALUES (:classifier, :source, 'rdr', :url, :etag, :sha256)",
        classifier=CLASSIFIER, source=FILE.source, url=FILE.url, etag=FILE.etag, sha256=FILE.sha256,
    )  # fmt: skip
    return story


def look(story, up_to=UP_TO, since=None):
    found = ListedArchives((), (), 1, {}, (Harvested(SEARCH, since, up_to),))
    wanted = NewRun(archives=(SEARCH,), products="rdr")
    return ledger.record_new(story.engine, wanted, [make_product(1, source=SEARCH)], found)


def begins_at(story, classifier=CLASSIFIER, products="rdr"):
    return ledger.harvested_to(story.engine, classifier, SEARCH, products)


def files(story):
    return ledger.known_files(story.engine, CLASSIFIER, INDEX, "rdr")


def test_a_known_index_is_known_after_upgrading_and_after_going_back(old):
    migrate.upgrade(old.engine)
    assert files(old) == [FILE]
    look(old)
    assert files(old) == [FILE]
    move(old.engine, command.downgrade, BEFORE)
    assert old.rows("SELECT url FROM listing_state") == [(FILE.url,)]
    migrate.upgrade(old.engine)
    assert (files(old), begins_at(old)) == ([FILE], None)


def test_the_next_listing_begins_at_the_time_of_the_last_one(old):
    migrate.upgrade(old.engine)
    assert begins_at(old) is None
    look(old, datetime(2026, 11, 1, tzinfo=UTC))
    look(old)
    assert begins_at(old) == UP_TO
    assert ledger.known_files(old.engine, CLASSIFIER, SEARCH, "rdr") == []


def test_that_time_is_known_for_one_classifier_and_one_kind_of_product(old):
    migrate.upgrade(old.engine)
    look(old)
    assert begins_at(old, classifier="b" * 64) is None
    assert begins_at(old, products="any") is None


def test_a_listing_that_began_at_a_time_deleted_meanwhile_does_not_count(old):
    migrate.upgrade(old.engine)
    look(old, since=datetime(2026, 11, 1, tzinfo=UTC))
    assert begins_at(old) is None


@pytest.mark.parametrize(
    ("sha256", "harvested_to", "is_refused"),
    [("c" * 64, None, False), (None, UP_TO, False), (None, None, True), ("c" * 64, UP_TO, True)],
)
def test_a_row_is_about_a_file_or_about_a_search(old, sha256, harvested_to, is_refused):
    migrate.upgrade(old.engine)
    values = {"classifier": CLASSIFIER, "source": SEARCH, "sha256": sha256}
    assert old.is_refused(ROW, **values, harvested_to=harvested_to) is is_refused
