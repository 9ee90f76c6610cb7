"""Comparing the classes that two classifiers publish of the same images."""

import pytest

from mernet.db import classifiers, ledger
from mernet.db.classifiers import NewClassifier
from mernet.db.comparison import ImageChange, compare
from mernet.db.errors import QueryRefused, UnknownClassifier
from mernet.db.publish import Failed
from mernet.db.thresholds import set_threshold

ORDER = ("rod", "pct", "arh")


def showing(*codes):
    """Scores under which exactly these of the first three classes are published."""
    return (*(0.95 if code in codes else 0.1 for code in ORDER), *[0.1] * 22)


BEFORE = {1: ("rod",), 2: ("rod", "pct"), 3: ("rod",), 4: (), 5: ("pct",)}
AFTER = {1: ("rod",), 2: ("arh",), 3: (), 4: ("rod",), 6: ("rod",)}
"""By clock: the classes under the first and the second classifier."""


def run_of(story, classifier, shown, product):
    for clock, codes in shown.items():
        new = ledger.NewRun(("sample",), classifier=classifier)
        run_id = ledger.create_run(story.engine, new).run_id
        story.list_run(run_id, [product(clock)], {})
        story.publish(run_id, 1, showing(*codes))


@pytest.fixture
def two(story, product):
    """Images 1 to 4 scored by both classifiers, 5 by the first and 6 by the second only."""
    classifiers.add(story.engine, NewClassifier("b" * 64, "second", "/models/second", 0.9, {}))
    run_of(story, "first", BEFORE, product)
    run_of(story, "second", AFTER, product)
    return story


def changes(found):
    return {
        each.code: (each.before, each.after, each.gained, each.lost)
        for each in found.classes
        if each.before or each.after
    }


def test_a_run_may_use_a_classifier_before_it_is_promoted(two):
    assert classifiers.current(two.engine).name == "first"
    assert ledger.get_run(two.engine).classifier == "b" * 64


def test_a_run_with_an_unknown_classifier_is_refused(story):
    with pytest.raises(UnknownClassifier, match="Registered: first"):
        ledger.create_run(story.engine, ledger.NewRun(("sample",), classifier="second"))
    assert ledger.list_runs(story.engine) == []


def test_only_images_that_both_have_scored_are_compared(two):
    found = compare(two.engine, "first", "second")
    assert (found.both, found.only_before, found.only_after) == (4, 1, 1)
    assert changes(found) == {"rod": (3, 2, 1, 2), "pct": (1, 0, 0, 1), "arh": (0, 1, 1, 0)}
    assert len(found.classes) == 25


def test_images_are_named_with_what_they_gain_and_lose_most_changes_first(two, product):
    names = {clock: product(clock).product_id for clock in range(1, 7)}
    assert compare(two.engine, "first", "second").images == (
        ImageChange(names[2], ("arh",), ("rod", "pct")),
        ImageChange(names[3], (), ("rod",)),
        ImageChange(names[4], ("rod",), ()),
    )


def test_the_other_way_round_what_was_gained_is_lost(two):
    forth, back = (
        compare(two.engine, *names) for names in (("first", "second"), ("second", "first"))
    )
    assert [(e.gained, e.lost) for e in forth.classes] == [(e.lost, e.gained) for e in back.classes]
    assert [(e.gained, e.lost) for e in forth.images] == [(e.lost, e.gained) for e in back.images]


def test_classes_and_the_number_of_images_can_be_limited(two, product):
    found = compare(two.engine, "first", "second", classes=("Rover deck",), limit=1)
    assert changes(found) == {"rod": (3, 2, 1, 2)}
    assert found.images == (ImageChange(product(2).product_id, (), ("rod",)),)
    assert [each.code for each in found.classes] == ["rod"]


def test_an_image_that_failed_under_one_is_not_compared(two, product):
    run_id = two.listed_products([product(1)], reclassify=True)
    failed = Failed(product(1).product_id, "not found", "It is gone.", is_lasting=True)
    two.settle(run_id, 1, [failed])
    found = compare(two.engine, "first", "second")
    assert (found.both, found.only_before, found.only_after) == (3, 1, 2)
    assert changes(found)["rod"] == (2, 1, 1, 2)


def test_a_threshold_of_a_class_counts_in_the_comparison(two):
    set_threshold(two.engine, "rod", 0.05, "second")
    found = compare(two.engine, "first", "second", classes=("rod",))
    assert changes(found) == {"rod": (3, 4, 1, 0)}


def test_the_same_classifier_twice_or_an_unknown_one_is_refused(two):
    with pytest.raises(QueryRefused, match="give two classifiers"):
        compare(two.engine, "first", "first")
    with pytest.raises(UnknownClassifier, match="Registered: first, second"):
        compare(two.engine, "first", "third")
