"""Retries by reason and by run."""

import pytest

from mernet.db import classifiers, ledger
from mernet.db.classifiers import NewClassifier
from mernet.db.errors import RunRefused, UnknownRun
from mernet.db.publish import Failed


def fail(story, products, reason):
    run_id = story.listed_products(products)
    gone = [Failed(each.product_id, reason, "It is so.") for each in products]
    assert story.settle(run_id, 1, gone)
    return run_id


def members(story, run):
    rows = story.rows(
        "SELECT product_id FROM run_product WHERE run_id = :run_id ORDER BY product_id",
        run_id=run.run_id,
    )
    return [name for (name,) in rows]


@pytest.fixture
def two_runs(story, product):
    one, two, three = product(1), product(2), product(3)
    first = fail(story, [one, two], "not found")
    second = fail(story, [three], "truncated")
    return first, second, [each.product_id for each in (one, two, three)]


def test_only_products_that_failed_in_the_run_are_retried(story, two_runs):
    first, second, names = two_runs
    assert members(story, ledger.create_retry(story.engine, failed_in=second)) == names[2:]
    assert members(story, ledger.create_retry(story.engine, failed_in=first)) == names[:2]


def test_reason_and_run_both_have_to_match(story, two_runs):
    first, _, _ = two_runs
    assert ledger.create_retry(story.engine, reason="truncated", failed_in=first) is None
    assert story.rows("SELECT FROM run WHERE kind = 'retry'") == []


def test_products_that_a_later_run_classified_are_not_retried(story, two_runs):
    first, _, names = two_runs
    again = ledger.create_retry(story.engine, reason="not found")
    story.publish(again.run_id, 1)
    assert ledger.create_retry(story.engine, failed_in=first) is None
    assert members(story, ledger.create_retry(story.engine)) == names[2:]


def test_a_run_under_another_classifier_than_the_current_is_refused(story, two_runs):
    first, _, _ = two_runs
    classifiers.add(story.engine, NewClassifier("b" * 64, "second", "/b", 0.9, {}))
    classifiers.promote(story.engine, "second")
    with pytest.raises(RunRefused, match="another classifier than second"):
        ledger.create_retry(story.engine, failed_in=first)


def test_withdrawn_products_are_not_retried(story, two_runs):
    _, _, names = two_runs
    story.execute("UPDATE product SET withdrawn_at = now() WHERE product_id = :name", name=names[0])
    assert members(story, ledger.create_retry(story.engine)) == names[1:]


def test_a_run_that_does_not_exist_is_refused(story):
    with pytest.raises(UnknownRun, match="Run 99 does not exist"):
        ledger.create_retry(story.engine, failed_in=99)
