"""The failed products of a run, and the open runs."""

import pytest

from mernet.db import ledger
from mernet.db.ledger import FailedProduct
from mernet.db.publish import Classified, Failed

SCORES = (0.5,) * 25


def publish(story, run_id: int, number: int, faults: dict[int, str]) -> None:
    """Publish a chunk; products at these positions failed for these reasons."""
    products = story.claim(run_id, number).products
    outcomes = [
        Failed(each.product_id, faults[place], f"{each.product_id} is no good.")
        if place in faults
        else Classified(each.product_id, SCORES)
        for place, each in enumerate(products)
    ]
    assert story.settle(run_id, number, outcomes)


@pytest.fixture
def named(product):
    """The failure of the product with this clock."""

    def make(clock: int, reason: str) -> FailedProduct:
        name = product(clock).product_id
        return FailedProduct(name, reason, f"{name} is no good.")

    return make


def test_failed_products_are_sorted_by_reason_and_name(story, named):
    run_id = story.listed(count=6, chunk_size=3)
    publish(story, run_id, 1, {0: "undecodable", 1: "not found"})
    publish(story, run_id, 2, {2: "not found"})
    assert ledger.failed_products(story.engine, run_id) == [
        named(2, "not found"),
        named(6, "not found"),
        named(1, "undecodable"),
    ]


def test_products_that_failed_in_an_earlier_run_are_included(story, named):
    publish(story, story.listed(count=2), 1, {1: "not found"})
    again = story.listed(count=2)
    assert ledger.failed_products(story.engine, again) == [named(2, "not found")]
    now = ledger.progress(story.engine, again)
    assert (now.failed, now.kept_failed) == (0, 1)


def test_products_to_be_reclassified_have_not_failed_yet(story):
    publish(story, story.listed(count=2), 1, {1: "not found"})
    assert ledger.failed_products(story.engine, story.listed(count=2, reclassify=True)) == []


def test_open_runs_are_those_that_have_not_ended(story):
    first = story.listed(count=2)
    ledger.pause_run(story.engine, first)
    ledger.cancel_run(story.engine, story.listed(count=2, reclassify=True))
    last = ledger.create_run(story.engine, ledger.NewRun(archives=("sample",))).run_id
    found = [(each.run_id, each.condition) for each in ledger.open_runs(story.engine)]
    assert found == [(first, "paused"), (last, "listing")]
