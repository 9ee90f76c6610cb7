"""Pruning an old classifier: only unused rows are deleted, and stored scores restore them."""

import pytest
import sqlalchemy as sa

from mernet.db import classifiers, ledger
from mernet.db.classifiers import NewClassifier
from mernet.db.comparison import compare
from mernet.db.errors import ClassesPruned, ClassifierInOpenRun, ClassifierInUse, UnknownClassifier
from mernet.db.pruning import prunable, prune
from mernet.db.tables import listing_state
from mernet.db.thresholds import set_threshold

SCORES = (0.95, 0.6, *[0.1] * 23)
PRODUCTS = 5


def counts(story, sha256):
    return story.rows(
        "SELECT (SELECT count(*) FROM outcome WHERE classifier = :sha256),"
        " (SELECT count(*) FROM classification WHERE classifier = :sha256)",
        sha256=sha256,
    )[0]


@pytest.fixture
def replaced(story, product):
    """Five products scored by the classifier 'first' and by 'second', which is current."""
    products = [product(clock) for clock in range(PRODUCTS)]
    story.classified(products, SCORES)
    classifiers.add(story.engine, NewClassifier("b" * 64, "second", "/models/second", 0.9, {}))
    classifiers.promote(story.engine, "second")
    story.classified(products, SCORES)
    return story


def test_only_outcomes_and_classes_of_the_old_classifier_are_deleted(replaced):
    assert list(prune(replaced.engine, "first", batch=2)) == [2, 2, 1]
    assert counts(replaced, "a" * 64) == (0, 0)
    assert counts(replaced, "b" * 64) == (5, 5)


def test_pruning_leaves_the_history_as_it_is(replaced, product):
    run_id = replaced.listed_products([product(1)], reclassify=True)
    replaced.publish(run_id, 1, (0.96, *[0.1] * 24))
    classifiers.promote(replaced.engine, "first")
    before = replaced.rows("SELECT * FROM outcome_history")
    list(prune(replaced.engine, "second"))
    assert replaced.rows("SELECT * FROM outcome_history") == before != []


def test_rows_to_delete_can_be_counted_before(replaced):
    found = prunable(replaced.engine, "first")
    assert (found.outcomes, found.classifications) == (5, 5)


def test_pruning_again_finds_nothing(replaced):
    list(prune(replaced.engine, "first"))
    assert list(prune(replaced.engine, "first")) == []


def test_an_interrupted_pruning_can_be_started_again(replaced):
    next(prune(replaced.engine, "first", batch=2))
    assert counts(replaced, "a" * 64) == (3, 3)
    assert sum(prune(replaced.engine, "first", batch=2)) == 3


def test_a_pruned_classifier_can_be_run_again(replaced):
    list(prune(replaced.engine, "first"))
    new = ledger.NewRun(("sample",), classifier="first")
    assert ledger.create_run(replaced.engine, new).classifier == "a" * 64


@pytest.mark.parametrize("batch", [2, 100])
def test_with_scores_kept_promoting_publishes_the_classes_again(replaced, batch):
    assert sum(prune(replaced.engine, "first", keep_scores=True, batch=batch)) == 5
    assert counts(replaced, "a" * 64) == (5, 0)
    assert classifiers.promote(replaced.engine, "first").is_published
    assert counts(replaced, "a" * 64) == (5, 5)
    assert replaced.rows("SELECT count(*) FROM atlas_search") == [(5,)]


def test_rolling_back_to_it_publishes_them_too(replaced):
    list(prune(replaced.engine, "first", keep_scores=True))
    classifiers.rollback(replaced.engine)
    assert counts(replaced, "a" * 64) == (5, 5)


def test_a_threshold_set_while_only_scores_are_kept_counts_when_it_is_promoted(replaced):
    list(prune(replaced.engine, "first", keep_scores=True))
    did = set_threshold(replaced.engine, "pct", 0.5, "first")
    assert (did.added, counts(replaced, "a" * 64)) == (0, (5, 0))
    classifiers.promote(replaced.engine, "first")
    assert counts(replaced, "a" * 64) == (5, 10)


def test_runs_of_a_classifier_whose_scores_are_kept_still_reconcile(replaced):
    list(prune(replaced.engine, "first", keep_scores=True))
    assert ledger.reconcile(replaced.engine, 1).ok


def test_interrupted_with_scores_kept_nothing_counts_as_published(replaced):
    next(prune(replaced.engine, "first", keep_scores=True, batch=2))
    with pytest.raises(ClassesPruned, match="promote it to publish them again"):
        compare(replaced.engine, "first", "second")
    classifiers.promote(replaced.engine, "first")
    assert counts(replaced, "a" * 64) == (5, 5)


def test_the_current_classifier_is_not_pruned(replaced):
    for attempt in (prunable, lambda *where: list(prune(*where))):
        with pytest.raises(ClassifierInUse, match="second is current"):
            attempt(replaced.engine, "second")
    assert counts(replaced, "b" * 64) == (5, 5)


def test_a_classifier_that_is_promoted_meanwhile_keeps_the_rest(replaced):
    batches = prune(replaced.engine, "first", batch=2)
    next(batches)
    classifiers.rollback(replaced.engine)
    with pytest.raises(ClassifierInUse, match="first is current"):
        next(batches)
    assert counts(replaced, "a" * 64) == (3, 3)


def test_a_classifier_that_an_open_run_uses_is_not_pruned(replaced):
    new = ledger.NewRun(("sample",), classifier="first")
    run_id = ledger.create_run(replaced.engine, new).run_id
    with pytest.raises(ClassifierInOpenRun, match=f"Run {run_id} still uses first; wait"):
        prunable(replaced.engine, "first")
    ledger.cancel_run(replaced.engine, run_id)
    assert prunable(replaced.engine, "first").outcomes == 5


def test_an_unknown_classifier_is_refused(story):
    with pytest.raises(UnknownClassifier, match="Registered: first"):
        prunable(story.engine, "nobody")


@pytest.mark.parametrize(("keep_scores", "kept"), [(True, 1), (False, 0)])
def test_known_listings_are_deleted_with_the_outcomes_and_stay_with_the_scores(
    replaced, keep_scores, kept
):
    with replaced.engine.begin() as connection:
        connection.execute(
            sa.insert(listing_state).values(
                classifier="a" * 64, source="s", products="edr", url="u", sha256="c" * 64
            )
        )
    list(prune(replaced.engine, "first", keep_scores=keep_scores))
    assert replaced.rows("SELECT count(*) FROM listing_state") == [(kept,)]
