"""Runs over the same products: one run does not repeat the work of another."""

import pytest

from mernet.db import classifiers, ledger
from mernet.db.ledger import Chunk, RunState
from mernet.db.publish import Classified

SCORES = [0.5] * 25


def test_a_run_whose_products_another_finished_ends_without_work(story):
    first, second = story.listed(count=8), story.listed(count=8)
    for number in (1, 2):
        assert story.publish(first, number)
    assert [story.claim(second, number) for number in (1, 2)] == [None, None]
    progress = ledger.progress(story.engine, second)
    assert (progress.run.state, progress.chunks) == (RunState.FINISHED, {"done": 2})
    assert (progress.kept, progress.classified, progress.waiting) == (8, 0, 0)
    assert story.rows("SELECT DISTINCT run_id FROM outcome") == [(first,)]
    assert ledger.reconcile(story.engine, second).ok


def test_a_chunk_that_ends_without_work_leaves_its_run_running_while_others_are_open(story):
    first, second = story.listed(count=8), story.listed(count=8)
    story.publish(first, 1)
    assert story.claim(second, 1) is None
    assert ledger.get_run(story.engine, second).state is RunState.RUNNING
    assert ledger.unsent_runs(story.engine) == [first, second]


def test_a_chunk_that_another_run_did_in_part_holds_the_rest(story, product):
    first, second = story.listed(count=4, chunk_size=3), story.listed(count=4, chunk_size=4)
    story.publish(first, 1)
    assert story.claim(second, 1).products == (product(4),)
    assert story.settle(second, 1, [Classified(product(4).product_id, SCORES)])
    progress = ledger.progress(story.engine, second)
    assert (progress.kept, progress.classified) == (3, 1)
    assert ledger.reconcile(story.engine, second).ok


def test_a_run_that_reclassifies_keeps_all_of_its_products(story):
    first, again = story.listed(count=4), story.listed(count=4, reclassify=True)
    story.publish(first, 1)
    assert len(story.claim(again, 1).products) == 4


def test_outcomes_under_another_classifier_leave_a_chunk_as_it_is(story):
    old = story.listed(count=4)
    classifiers.add(story.engine, classifiers.NewClassifier("b" * 64, "second", "/b", 0.9, {}))
    classifiers.promote(story.engine, "second")
    new = story.listed(count=4)
    story.publish(old, 1)
    assert len(story.claim(new, 1).products) == 4


@pytest.mark.parametrize("claimed_again", [False, True])
def test_a_claimed_chunk_keeps_products_that_another_run_publishes_meanwhile(story, claimed_again):
    first, second = story.listed(count=4), story.listed(count=4)
    claimed = story.claim(second, 1, "another" if claimed_again else "worker")
    story.publish(first, 1)
    if claimed_again:
        story.lose_claims()
        assert isinstance(story.claim(second, 1), Chunk)
    outcomes = [Classified(product.product_id, SCORES) for product in claimed.products]
    assert story.settle(second, 1, outcomes)
    assert story.rows("SELECT DISTINCT run_id FROM outcome") == [(second,)]
    for run_id in (first, second):
        assert ledger.reconcile(story.engine, run_id).ok
