"""Thresholds of single classes: outcomes scored before are published accordingly."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mernet.db import classifiers, ledger, thresholds
from mernet.db.classifiers import NewClassifier
from mernet.db.errors import QueryRefused, ThresholdRefused, UnknownClassifier
from mernet.db.ledger.open_chunks import lock_open_chunk, settle_chunk
from mernet.db.publish import Classified
from mernet.db.thresholds import set_threshold

HALF = np.float32(0.5)
ABOVE_HALF = np.nextafter(HALF, np.float32(1))
BELOW_HALF = np.nextafter(HALF, np.float32(0))
CLASSES = 25


def rod(score):
    """Scores of which that of the first class, rod, is given; pct is 0.95, the others 0.1."""
    return (score, 0.95, *[0.1] * 23)


def published(story, code="rod"):
    """The clock of each product that shows the class, with the probability."""
    rows = story.rows(
        "SELECT product_id, probability FROM classification WHERE class = :code"
        " ORDER BY product_id",
        code=code,
    )
    return {int(name[2:11]): np.float32(probability) for name, probability in rows}


@pytest.fixture
def scored(story, product):
    """Four products with scores of rod about a half, one of them a boundary, and one above 0.9."""
    for clock, score in enumerate((BELOW_HALF, HALF, ABOVE_HALF, 0.95), start=1):
        story.classified([product(clock)], rod(score))
    return story


def test_a_lower_threshold_publishes_what_is_strictly_above_it(scored):
    did = set_threshold(scored.engine, "rod", 0.5)
    assert published(scored) == {3: ABOVE_HALF, 4: np.float32(0.95)}
    assert (did.added, did.withdrawn, did.now) == (1, 0, 0.5)
    assert did.before == pytest.approx(0.9)


def test_a_higher_threshold_withdraws_what_is_not_above_it(scored):
    did = set_threshold(scored.engine, "rod", 0.95)
    assert published(scored) == {}
    assert (did.added, did.withdrawn) == (0, 1)


def test_a_threshold_is_compared_as_it_is_stored(story, product):
    story.classified([product(1)], rod(0.7))
    story.classified([product(2)], rod(np.nextafter(np.float32(0.7), np.float32(1))))
    set_threshold(story.engine, "rod", 0.7)
    assert set(published(story)) == {2}


def test_other_classes_keep_theirs(scored):
    set_threshold(scored.engine, "Rover deck", 0.05)
    assert set(published(scored)) == {1, 2, 3, 4}
    assert set(published(scored, "pct")) == {1, 2, 3, 4}
    assert published(scored, "arh") == {}


def test_chunks_published_afterwards_keep_to_it(story, product):
    set_threshold(story.engine, "rod", 0.5)
    story.classified([product(1)], rod(0.5))
    story.classified([product(2)], rod(0.6))
    assert published(story) == {2: np.float32(0.6)}


def test_changing_it_again_and_again_ends_where_publishing_at_once_would(scored):
    for threshold in (0.3, 0.97, 0.5, 0.94):
        set_threshold(scored.engine, "rod", threshold)
    assert set(published(scored)) == {4}


def test_the_classifiers_own_threshold_removes_that_of_the_class(scored):
    set_threshold(scored.engine, "rod", 0.5)
    assert thresholds.class_thresholds(scored.engine) == {"a" * 64: {"rod": 0.5}}
    set_threshold(scored.engine, "rod", 0.9)
    assert thresholds.class_thresholds(scored.engine) == {}
    assert set(published(scored)) == {4}


def test_thresholds_are_returned_in_the_order_of_the_chain(story):
    for code in ("sky", "rod", "art"):
        set_threshold(story.engine, code, 0.5)
    assert list(thresholds.class_thresholds(story.engine)["a" * 64]) == ["rod", "sky", "art"]


def test_a_threshold_is_one_classifiers_alone(scored, product):
    classifiers.add(scored.engine, NewClassifier("b" * 64, "second", "/models/second", 0.9, {}))
    set_threshold(scored.engine, "rod", 0.5, "second")
    assert set(published(scored)) == {4}
    classifiers.promote(scored.engine, "second")
    scored.classified([product(9)], rod(0.6))
    assert set(published(scored)) == {4, 9}


def test_runs_reconcile_under_the_threshold_in_force(scored):
    set_threshold(scored.engine, "rod", 0.5)
    assert ledger.reconcile(scored.engine).ok
    scored.execute("DELETE FROM classification WHERE class = 'rod'")
    assert ledger.reconcile(scored.engine).wrong_rows == 1


def test_the_database_refuses_a_row_that_is_not_above_its_classs_threshold(scored):
    set_threshold(scored.engine, "rod", 0.5)
    lower = "UPDATE classification SET probability = :p WHERE class = :code"
    assert not scored.is_refused(lower, p=0.51, code="rod")
    assert scored.is_refused(lower, p=0.5, code="rod")
    assert scored.is_refused(lower, p=0.51, code="pct")


@pytest.mark.parametrize("threshold", [0, 1, -0.1, 1.5, 1 - 1e-9, 1e-60, float("nan")])
def test_a_threshold_that_is_not_between_0_and_1_is_refused(scored, threshold):
    with pytest.raises(ThresholdRefused, match="between 0 and 1"):
        set_threshold(scored.engine, "rod", threshold)
    assert thresholds.class_thresholds(scored.engine) == {}


def test_an_unknown_class_or_classifier_is_refused(story):
    with pytest.raises(QueryRefused, match="did you mean 'rod'"):
        set_threshold(story.engine, "rood", 0.5)
    with pytest.raises(UnknownClassifier, match="Registered: first"):
        set_threshold(story.engine, "rod", 0.5, "second")


def until_it_waits(story, job):
    """Wait until `job` waits for a lock or has ended."""
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    while not job.done() and story.rows(waiting) == [(0,)]:
        pass


def test_a_change_waits_for_a_chunk_that_is_being_published(story, product):
    run_id = story.listed(count=1)
    story.claim(run_id, 1)
    with ThreadPoolExecutor(1) as pool:
        with story.engine.begin() as publisher:
            outcome = Classified(product(1).product_id, rod(0.6))
            settle_chunk(publisher, lock_open_chunk(publisher, run_id, 1), [outcome])
            change = pool.submit(set_threshold, story.engine, "rod", 0.5)
            until_it_waits(story, change)
        change.result()
    assert set(published(story)) == {1}


def test_a_chunk_waits_for_a_change_even_one_by_hand(story):
    run_id = story.listed(count=1)
    with ThreadPoolExecutor(1) as pool:
        with story.engine.begin() as operator:
            operator.exec_driver_sql(
                "INSERT INTO class_threshold SELECT sha256, 'rod', 0.5 FROM classifier"
            )
            publishing = pool.submit(story.publish, run_id, 1, rod(0.6))
            until_it_waits(story, publishing)
        assert publishing.result()
    assert set(published(story)) == {1}


def test_two_changes_of_a_class_are_made_one_after_the_other(scored):
    with ThreadPoolExecutor(1) as pool:
        with scored.engine.begin() as operator:
            set_threshold.__wrapped__(operator, "rod", 0.5)
            change = pool.submit(set_threshold, scored.engine, "rod", 0.94)
            until_it_waits(scored, change)
        assert change.result().before == 0.5
    assert set(published(scored)) == {4}


def test_chunks_published_while_a_threshold_changes_are_right_in_the_end(story):
    chunks = 40
    run_id = story.listed(count=2 * chunks, chunk_size=2)
    random = np.random.default_rng(5)
    scores = random.random((chunks, CLASSES), dtype=np.float32)
    with ThreadPoolExecutor(4) as pool:
        changes = pool.map(
            lambda threshold: set_threshold(story.engine, "rod", threshold),
            random.uniform(0.1, 0.9, 10),
        )
        assert all(
            pool.map(
                lambda number: story.publish(run_id, number, scores[number - 1]),
                range(1, chunks + 1),
            )
        )
        list(changes)
    assert ledger.reconcile(story.engine, run_id).ok
