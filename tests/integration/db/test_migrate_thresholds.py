"""To thresholds by class and back, with rows in the tables."""

import pytest
from alembic import command

from db import classifiers, migrate
from db.classifiers import NewClassifier
from db.thresholds import set_threshold
from tests.fixtures.ledger import Story, make_product

BEFORE, AFTER = "0002", "0003"


def move(engine, step, revision):
    with engine.begin() as connection:
        step(migrate.configuration(connection), revision)


@pytest.fixture
def old(empty_engine):
    """The tables as they were before, with a current classifier."""
    move(empty_engine, command.upgrade, BEFORE)
    story = Story(empty_engine)
    story.execute(
        "INSERT INTO classifier (sha256, name, path, threshold, header, is_current)"
        " VALUES (:sha256, 'first', '/models/first', 0.9, '{}', true)",
        sha256="a" * 64,
    )
    return story


def test_a_classifier_that_was_current_before_can_be_rolled_back_to(old):
    migrate.upgrade(old.engine)
    classifiers.add(old.engine, NewClassifier("b" * 64, "second", "/models/second", 0.9, {}))
    classifiers.promote(old.engine, "second")
    assert classifiers.rollback(old.engine).name == "first"


def test_without_a_current_classifier_the_history_begins_empty(old):
    old.execute("UPDATE classifier SET is_current = false")
    migrate.upgrade(old.engine)
    assert old.rows("SELECT * FROM promotion") == []


def test_going_back_publishes_all_classes_above_the_one_threshold_again(old):
    migrate.upgrade(old.engine)
    old.classified([make_product(1)], (0.95, 0.6, *[0.1] * 23))
    as_published = old.rows("SELECT * FROM classification")
    set_threshold(old.engine, "rod", 0.97)
    set_threshold(old.engine, "pct", 0.5)
    assert old.rows("SELECT * FROM classification") != as_published
    move(old.engine, command.downgrade, BEFORE)
    assert old.rows("SELECT * FROM classification") == as_published
    move(old.engine, command.upgrade, AFTER)
    assert old.rows("SELECT * FROM classification") == as_published


def test_going_back_the_database_refuses_rows_by_the_one_threshold_again(old):
    migrate.upgrade(old.engine)
    old.classified([make_product(1)], (0.95, *[0.1] * 24))
    set_threshold(old.engine, "rod", 0.5)
    lower = "UPDATE classification SET probability = 0.6"
    assert not old.is_refused(lower)
    move(old.engine, command.downgrade, BEFORE)
    assert old.is_refused(lower)
