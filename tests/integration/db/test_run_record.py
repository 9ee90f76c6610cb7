"""What a run did with each product is recorded when it happens, and later runs do not change it."""

import pytest

from mernet.db import ledger
from mernet.db.ledger import FailedProduct
from mernet.db.publish import Failed

BUSY = ("transfer failed", "It was answered with 503.")


def fail_all(story, run_id, is_lasting=False):
    products = story.claim(run_id, 1).products
    failures = [Failed(each.product_id, *BUSY, is_lasting) for each in products]
    assert story.settle(run_id, 1, failures)


def told(story, run_id):
    """All that the ledger says about what a run did."""
    counts = ledger.progress(story.engine, run_id)
    return (
        (counts.kept, counts.kept_failed, counts.classified, counts.failed, counts.failures),
        ledger.failed_products(story.engine, run_id),
        ledger.reconcile(story.engine, run_id),
    )


@pytest.fixture
def good(story):
    """A run that classified two products."""
    run_id = story.listed(count=2)
    story.publish(run_id, 1)
    return run_id


def test_a_run_whose_archive_was_down_tells_so_while_the_rows_stay(story, good, product):
    before = story.rows("SELECT * FROM atlas_search ORDER BY 1")
    again = story.listed(count=2, reclassify=True)
    fail_all(story, again)
    assert story.rows("SELECT * FROM atlas_search ORDER BY 1") == before
    found = ledger.reconcile(story.engine, again)
    assert (found.classified, found.failed, found.wrong_rows, found.ok) == (0, 2, 0, True)
    names = [product(clock).product_id for clock in (1, 2)]
    assert ledger.failed_products(story.engine, again) == [
        FailedProduct(name, *BUSY) for name in names
    ]


@pytest.mark.parametrize("is_lasting", [False, True])
def test_what_a_run_did_is_told_alike_after_later_runs(story, good, is_lasting):
    before = told(story, good)
    failing = story.listed(count=2, reclassify=True)
    fail_all(story, failing, is_lasting)
    failed = told(story, failing)
    story.publish(story.listed(count=2, reclassify=True), 1, (0.97, *[0.1] * 24))
    assert told(story, good) == before
    assert told(story, failing) == failed


def test_an_outcome_that_a_run_kept_stays_in_its_record_as_it_was(story):
    fail_all(story, story.listed(count=2))
    second = story.listed(count=2)
    before = told(story, second)
    assert before[0] == (2, 2, 0, 0, {})
    assert before[2].kept_failed == 2
    story.publish(ledger.create_retry(story.engine).run_id, 1)
    assert told(story, second) == before


def test_a_failure_that_left_the_outcome_is_retried(story, good):
    again = story.listed(count=2, reclassify=True)
    fail_all(story, again)
    retried = ledger.create_retry(story.engine, failed_in=again)
    assert ledger.progress(story.engine, retried.run_id).waiting == 2
    story.publish(retried.run_id, 1)
    assert ledger.create_retry(story.engine) is None


def test_a_retry_reads_from_the_mirror_of_the_runs_that_failed(story, product):
    for clock, mirror in ((1, "https://mirror.example/"), (2, None)):
        run_id = story.listed_products([product(clock)])
        story.execute(
            "UPDATE run SET mirror = :mirror WHERE run_id = :run_id", mirror=mirror, run_id=run_id
        )
        fail_all(story, run_id)
    mirrors = [
        ledger.create_retry(story.engine, **options).mirror
        for options in ({"failed_in": 1}, {"failed_in": 2}, {}, {"mirror": "/copy"})
    ]
    assert mirrors == ["https://mirror.example/", None, None, "/copy"]
