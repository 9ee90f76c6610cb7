"""Registering classifiers and choosing the current one."""

import pytest

from mernet.db import classifiers
from mernet.db.classifiers import NewClassifier
from mernet.db.errors import (
    ClassifierRefused,
    NoCurrentClassifier,
    NothingToRollBack,
    UnknownClassifier,
)

SECOND = NewClassifier("b" * 64, "second", "/models/second", 0.9, {"size": 224})


def test_a_registered_classifier_comes_back_as_it_was(story):
    added = classifiers.add(story.engine, SECOND)
    assert (added.name, added.path, added.header) == ("second", "/models/second", {"size": 224})
    assert not added.is_current
    assert classifiers.get(story.engine, "b" * 64) == added
    assert [each.name for each in classifiers.list_all(story.engine)] == ["first", "second"]


def test_registering_a_checkpoint_again_changes_its_path_only(story):
    moved = NewClassifier("a" * 64, "renamed", "/elsewhere", 0.5, {})
    added = classifiers.add(story.engine, moved)
    assert (added.name, added.path, added.threshold) == ("first", "/elsewhere", pytest.approx(0.9))
    assert added.is_current


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "first"}, "already called 'first'; choose another name"),
        ({"sha256": "B" * 64}, "64 lower-case hex"),
        ({"threshold": 1.0}, r"threshold \(1.0\) has to lie between 0 and 1"),
    ],
)
def test_a_classifier_that_cannot_be_registered_says_why(story, changes, message):
    values = {"sha256": "b" * 64, "name": "b", "path": "/b", "threshold": 0.9, "header": {}}
    with pytest.raises(ClassifierRefused, match=message):
        classifiers.add(story.engine, NewClassifier(**values | changes))


def test_promoting_makes_exactly_one_classifier_current(story):
    classifiers.add(story.engine, SECOND)
    assert classifiers.promote(story.engine, "second").is_current
    assert classifiers.current(story.engine).name == "second"
    assert story.rows("SELECT name FROM classifier WHERE is_current") == [("second",)]
    classifiers.promote(story.engine, "second")  # once more is harmless
    assert classifiers.current(story.engine).name == "second"


def test_promoting_an_unknown_name_lists_the_known_ones_and_changes_nothing(story):
    with pytest.raises(UnknownClassifier, match=r"'third'\. Registered: first"):
        classifiers.promote(story.engine, "third")
    assert classifiers.current(story.engine).name == "first"


def test_without_a_current_classifier_the_error_says_what_to_do(engine):
    with pytest.raises(NoCurrentClassifier, match="register a checkpoint"):
        classifiers.current(engine)


def test_an_unknown_hash_is_an_error(story):
    with pytest.raises(UnknownClassifier, match="register its checkpoint"):
        classifiers.get(story.engine, "c" * 64)


@pytest.fixture
def three(story):
    """The classifiers 'first', 'second' and 'third' were promoted in this order."""
    classifiers.add(story.engine, SECOND)
    classifiers.add(story.engine, NewClassifier("c" * 64, "third", "/models/third", 0.9, {}))
    classifiers.promote(story.engine, "second")
    classifiers.promote(story.engine, "third")
    return story


def test_rolling_back_goes_to_the_classifier_before_and_once_more_to_the_one_before_that(three):
    assert classifiers.rollback(three.engine).name == "second"
    assert classifiers.current(three.engine).name == "second"
    assert classifiers.rollback(three.engine).name == "first"


def test_without_an_earlier_promotion_rolling_back_is_refused_and_changes_nothing(story):
    with pytest.raises(NothingToRollBack, match="before first"):
        classifiers.rollback(story.engine)
    assert classifiers.current(story.engine).name == "first"


def test_a_promotion_after_a_rollback_is_undone_to_where_the_rollback_went(three):
    classifiers.rollback(three.engine)
    classifiers.promote(three.engine, "first")
    assert classifiers.rollback(three.engine).name == "second"


def test_promoting_the_current_one_again_is_nothing_to_undo(three):
    classifiers.promote(three.engine, "third")
    assert classifiers.rollback(three.engine).name == "second"


def test_every_promotion_stays_in_the_history_also_an_undone_one(three):
    classifiers.rollback(three.engine)
    assert three.rows(
        "SELECT name, undone_at IS NOT NULL FROM promotion JOIN classifier ON sha256 = classifier"
        " ORDER BY promotion_id"
    ) == [("first", False), ("second", False), ("third", True)]


def test_without_a_current_classifier_there_is_nothing_to_roll_back(engine):
    with pytest.raises(NoCurrentClassifier, match="register a checkpoint"):
        classifiers.rollback(engine)
