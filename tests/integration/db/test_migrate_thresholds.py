"""To thresholds by class and back, with rows in the tables."""

import pytest
from alembic import command

from fixtures.ledger import make_product, move
from mernet.db import classifiers, migrate
from mernet.db.classifiers import NewClassifier
from mernet.db.thresholds import set_threshold

BEFORE, AFTER = "0002", "0003"


@pytest.fixture
def old(make_old_tables):
    """The tables as they were before, with a current classifier."""
    return make_old_tables(BEFORE)


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
