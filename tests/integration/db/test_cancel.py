"""Cancelling while a chunk is being published: the chunk is published completely or not at all."""

import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from mernet.db import ledger
from mernet.db.ledger import ListedArchives, ListedFile, NewRun, RunState, publish_chunk
from mernet.db.ledger.ingest import _ingest_file
from mernet.db.ledger.listed_table import spool
from mernet.db.ledger.open_chunks import lock_open_chunk, settle_chunk
from mernet.db.ledger.runs import end_run, read_run
from mernet.db.publish import Classified

BOTH_SEEN = [0.95, 0.95, *[0.1] * 23]
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


@pytest.fixture
def thread():
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def chunk(story):
    """A claimed chunk: its run, number and outcomes."""
    run_id = story.listed(count=8, chunk_size=4)
    claimed = story.claim(run_id, 1)
    return run_id, 1, [Classified(product.product_id, BOTH_SEEN) for product in claimed.products]


def wait_until_it_waits(story, other: Future) -> None:
    while story.rows(WAITING) == [(0,)]:
        assert not other.done()
        time.sleep(0.01)


def published(story):
    [[outcomes]] = story.rows("SELECT count(*) FROM outcome")
    [[rows]] = story.rows("SELECT count(*) FROM classification")
    return outcomes, rows


def test_a_publication_that_came_first_is_whole_before_the_run_is_cancelled(story, chunk, thread):
    run_id, number, outcomes = chunk
    with story.engine.begin() as connection:
        settle_chunk(connection, lock_open_chunk(connection, run_id, number), outcomes)
        cancelling = thread.submit(ledger.cancel_run, story.engine, run_id)
        wait_until_it_waits(story, cancelling)
        assert published(story) == (0, 0)
    assert cancelling.result().state is RunState.CANCELLED
    assert published(story) == (4, 8)


def test_a_publication_that_comes_second_writes_nothing(story, chunk, thread):
    run_id, number, outcomes = chunk
    with story.engine.begin() as connection:
        read_run(connection, run_id, lock=True)
        end_run(connection, run_id, RunState.CANCELLED)
        publishing = thread.submit(
            publish_chunk, story.engine, story.claimed[run_id, number], "worker", outcomes
        )
        wait_until_it_waits(story, publishing)
    assert publishing.result() is False
    assert published(story) == (0, 0)


def test_a_listing_ingested_while_its_run_is_cancelled_is_not_known(story, product, thread):
    files = (ListedFile("https://example.org/", "https://example.org/i.tab", None, None, "c" * 64),)
    found = ListedArchives(("https://example.org/",), files, rows_read=1, left_out={})
    wanted = NewRun(archives=("https://example.org/",))
    products = [product(1, source="https://example.org/")]
    first = ledger.record_new(story.engine, wanted, products, found)
    with spool(products) as listing, story.engine.begin() as connection:
        _ingest_file.__wrapped__(connection, wanted, listing, found, False)
        cancelling = thread.submit(ledger.cancel_run, story.engine, first.run.run_id)
        wait_until_it_waits(story, cancelling)
    assert cancelling.result().state is RunState.CANCELLED
    assert ledger.known_files(story.engine, "a" * 64, "https://example.org/", "edr") == []
