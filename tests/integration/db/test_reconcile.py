"""Reconciling detects missing, duplicate and wrong rows."""

import pytest

from mernet.db import ledger


@pytest.fixture
def finished(story):
    """A finished run of four products, each with the class rod published."""
    return story.publish(story.listed(count=4), 1) and story


def test_a_finished_run_adds_up(finished):
    found = ledger.reconcile(finished.engine)
    assert (found.listed, found.classified, found.failed) == (4, 4, 0)
    assert (found.missing, found.twice, found.wrong_rows) == (0, 0, 0)
    assert found.ok


def test_an_unfinished_run_is_not_ok_and_misses_outcomes(story):
    run_id = story.listed(count=8, chunk_size=4)
    story.publish(run_id, 1)
    found = ledger.reconcile(story.engine, run_id)
    assert (found.listed, found.classified, found.missing) == (8, 4, 4)
    assert not found.ok


def test_a_run_that_is_still_listed_is_not_ok(story):
    ledger.create_run(story.engine, ledger.NewRun(("sample",)))
    assert not ledger.reconcile(story.engine).ok


SABOTAGE = {
    "a row is missing": "DELETE FROM classification WHERE product_id = :product_id",
    "a row too many": "INSERT INTO classification VALUES (:product_id, :classifier, 'sky', 0.95)",
    "another probability": (
        "UPDATE classification SET probability = 0.96 WHERE product_id = :product_id"
    ),
    "a row of a failed product": (
        "UPDATE outcome SET state = 'failed', scores = NULL, reason = 'x', detail = 'x'"
        " WHERE product_id = :product_id"
    ),
    "the score was changed afterwards": (
        "UPDATE outcome SET scores[1] = 0.951 WHERE product_id = :product_id"
    ),
}


@pytest.mark.parametrize("statement", SABOTAGE.values(), ids=SABOTAGE.keys())
def test_one_wrong_row_is_noticed(finished, product, statement):
    finished.execute(
        statement.replace(":classifier", "'" + "a" * 64 + "'"), product_id=product(2).product_id
    )
    found = ledger.reconcile(finished.engine)
    assert found.wrong_rows == 1
    assert not found.ok


def test_an_outcome_that_vanished_is_missing(finished, product):
    finished.execute(f"DELETE FROM outcome WHERE product_id = '{product(2).product_id}'")
    found = ledger.reconcile(finished.engine)
    assert (found.classified, found.missing) == (3, 1)
    assert not found.ok


def test_one_image_under_two_versions_is_counted_twice(story, product):
    run_id = story.listed_products([product(1, "1"), product(1, "2"), product(2)])
    story.publish(run_id, 1)
    found = ledger.reconcile(story.engine)
    assert found.twice == 1
    assert not found.ok


def test_a_threshold_that_changed_after_publishing_is_noticed(finished):
    finished.execute("UPDATE classifier SET threshold = 0.96")
    assert ledger.reconcile(finished.engine).wrong_rows == 4
