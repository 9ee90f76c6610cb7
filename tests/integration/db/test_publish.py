"""Publishing: the outcomes of a chunk replace those published before."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mernet.db import ledger
from mernet.db.errors import OutcomeRefused
from mernet.db.ledger import RunState, Split, publish_chunk
from mernet.db.publish import Classified, Failed

NONE_PUBLISHED = [0.1] * 25
ABOVE = np.nextafter(np.float32(0.9), np.float32(1))
BELOW = np.nextafter(np.float32(0.9), np.float32(0))


def published(story):
    rows = story.rows("SELECT class, probability FROM classification ORDER BY class")
    return {code: np.float32(probability) for code, probability in rows}


def scores_with(**changes):
    """25 scores of 0.1 but for those of the first classes: rod, pct, arh, ohw."""
    named = dict.fromkeys(("rod", "pct", "arh", "ohw"), 0.1) | changes
    return [*named.values(), *[0.1] * 21]


def test_classes_strictly_above_the_threshold_are_published(story, product):
    scores = scores_with(rod=0.9, pct=ABOVE, arh=BELOW, ohw=1.0)
    story.classified([product(1)], scores)
    assert published(story) == {"pct": ABOVE, "ohw": 1.0}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_boundary_means_the_same_for_scores_in_either_precision(story, product, dtype):
    story.classified([product(1)], np.array(scores_with(rod=0.9, pct=ABOVE), dtype=dtype))
    assert published(story) == {"pct": ABOVE}


def test_all_25_scores_are_stored_exactly_to_the_last_bit(story, product):
    scores = np.random.default_rng(0).random(25, dtype=np.float32)
    scores[:3] = np.float32(1e-45), np.float32(0), np.float32(1)
    story.classified([product(1)], scores)
    kept = story.rows("SELECT scores FROM outcome")[0][0]
    assert np.array(kept, np.float32).tobytes() == scores.tobytes()


def test_each_class_is_published_under_its_own_code(story, product):
    for position in range(25):
        scores = list(NONE_PUBLISHED)
        scores[position] = 0.95
        story.classified([product(position)], scores)
    rows = story.rows(
        "SELECT class, product_id FROM classification JOIN image_class ON code = class"
        " ORDER BY position"
    )
    assert [product_id for _, product_id in rows] == [
        product(position).product_id for position in range(25)
    ]


def test_the_last_chunk_finishes_the_run(story):
    run_id = story.listed(count=8, chunk_size=4)
    story.publish(run_id, 2)
    assert ledger.get_run(story.engine, run_id).state is RunState.RUNNING
    story.publish(run_id, 1)
    run = ledger.get_run(story.engine, run_id)
    assert (run.state, run.finished_at is not None) == (RunState.FINISHED, True)


def test_a_row_that_fell_below_the_threshold_is_gone_after_a_second_run(story, product):
    story.publish(story.listed(count=1), 1, scores_with(rod=0.95, pct=0.95))
    story.publish(story.listed(count=1, reclassify=True), 1, scores_with(rod=0.89, pct=0.97))
    assert published(story) == {"pct": pytest.approx(0.97)}
    assert story.rows("SELECT run_id FROM outcome") == [(2,)]


ALL_OUTCOMES = "SELECT * FROM outcome ORDER BY product_id"
HISTORY = "SELECT state, scores[1], reason, run_id, replaced_by, cause FROM outcome_history"
PASSING = ("transfer failed", "It was answered with 503.", False)
LASTING = ("not found", "It is gone.", True)


def fail_again(story, product, reason, detail, is_lasting):
    """Reclassify product 1, which fails."""
    run_id = story.listed(count=1, reclassify=True)
    story.claim(run_id, 1)
    failed = Failed(product(1).product_id, reason, detail, is_lasting)
    assert story.settle(run_id, 1, [failed])


def test_a_passing_failure_leaves_the_outcome_and_the_published_classes(story, product):
    story.publish(story.listed(count=1), 1)
    before = story.rows(ALL_OUTCOMES), published(story)
    fail_again(story, product, *PASSING)
    assert (story.rows(ALL_OUTCOMES), published(story)) == before
    assert story.rows(HISTORY) == []


def test_the_run_records_a_passing_failure_even_if_the_outcome_stays(story, product):
    story.publish(story.listed(count=1), 1)
    fail_again(story, product, *PASSING)
    assert story.rows("SELECT run_id, result, reason, detail FROM run_product ORDER BY 1") == [
        (1, "classified", None, None),
        (2, "failed", *PASSING[:2]),
    ]


def test_a_lasting_failure_unpublishes_and_keeps_the_scores_in_the_history(story, product):
    story.publish(story.listed(count=1), 1)
    fail_again(story, product, *LASTING)
    assert published(story) == {}
    assert story.rows("SELECT state, scores, reason, detail, attempts FROM outcome") == [
        ("failed", None, "not found", "It is gone.", 1)
    ]
    assert story.rows(HISTORY) == [
        ("classified", pytest.approx(0.95), None, 1, 2, "failed: not found")
    ]


def test_a_passing_failure_replaces_a_passing_one_but_not_a_lasting_one(story, product):
    for failure in (PASSING, ("forbidden", "No.", False), LASTING, PASSING):
        fail_again(story, product, *failure)
    assert story.rows("SELECT reason FROM outcome") == [("not found",)]
    assert [row[2] for row in story.rows(HISTORY)] == ["transfer failed", "forbidden"]


def test_other_scores_are_kept_in_the_history_and_equal_ones_are_not(story, product):
    story.publish(story.listed(count=1), 1)
    story.publish(story.listed(count=1, reclassify=True), 1)
    assert story.rows(HISTORY) == []
    story.publish(story.listed(count=1, reclassify=True), 1, scores_with(rod=0.97))
    assert story.rows(HISTORY) == [
        ("classified", pytest.approx(0.95), None, 2, 3, "classified again")
    ]


def test_the_share_of_pixels_that_were_not_received_is_published(story, product):
    run_id = story.listed(count=1)
    story.claim(run_id, 1)
    outcome = Classified(product(1).product_id, scores_with(rod=0.95), missing_share=0.5)
    story.settle(run_id, 1, [outcome])
    assert story.rows("SELECT class, missing_share FROM atlas_search") == [("rod", 0.5)]


def test_a_reason_that_quotes_what_postgres_cannot_store_does_not_fail_the_chunk(story, product):
    run_id = story.listed(count=1)
    failed = Failed(product(1).product_id, "undecodable", "It begins with \0\udc80.")
    assert story.settle(run_id, 1, [failed])
    assert story.rows("SELECT detail FROM outcome") == [("It begins with ??.",)]


def test_another_products_rows_are_left_alone(story, product):
    story.classified([product(1)], scores_with(rod=0.95))
    story.classified([product(2)], scores_with(pct=0.95))
    assert set(published(story)) == {"rod", "pct"}


def test_publishing_a_chunk_again_changes_nothing(story, product):
    run_id = story.listed(count=1)
    story.publish(run_id, 1, scores_with(rod=0.95))
    again = [Classified(product(1).product_id, scores_with(pct=0.95))]
    assert not story.settle(run_id, 1, again)
    assert set(published(story)) == {"rod"}


def test_a_chunk_of_a_cancelled_run_is_not_published(story, product):
    run_id = story.listed(count=1)
    story.claim(run_id, 1)
    ledger.cancel_run(story.engine, run_id)
    outcome = Classified(product(1).product_id, scores_with(rod=0.95))
    assert not story.settle(run_id, 1, [outcome])
    assert story.rows("SELECT count(*) FROM outcome") == [(0,)]


def test_a_worker_that_lost_its_chunk_to_another_publishes_nothing(story, product):
    run_id = story.listed(count=1)
    first = story.claim(run_id, 1, "one")
    story.lose_claims()
    second = story.claim(run_id, 1, "two")
    outcome = Classified(product(1).product_id, NONE_PUBLISHED)
    assert not publish_chunk(story.engine, first, "one", [outcome])
    assert story.rows("SELECT count(*) FROM outcome") == [(0,)]
    assert publish_chunk(story.engine, second, "two", [outcome])


def test_a_worker_without_heartbeats_still_publishes_what_nobody_else_has_claimed(story, product):
    run_id = story.listed(count=1)
    claimed = story.claim(run_id, 1, "one")
    story.lose_claims()
    outcome = Classified(product(1).product_id, NONE_PUBLISHED)
    assert publish_chunk(story.engine, claimed, "one", [outcome])


def test_a_chunk_that_was_split_meanwhile_is_not_published(story, product):
    run_id = story.listed(count=2, chunk_size=2)
    story.claim(run_id, 1)
    story.execute("UPDATE chunk SET attempts = 3")
    story.lose_claims()
    assert isinstance(story.claim(run_id, 1, "another"), Split)
    outcomes = [Classified(product(clock).product_id, NONE_PUBLISHED) for clock in (1, 2)]
    assert not story.settle(run_id, 1, outcomes)


@pytest.mark.parametrize("clocks", [(1,), (1, 2, 3), (1, 3), (1, 1), (1, 2, 2), ()], ids=str)
def test_outcomes_have_to_be_of_exactly_the_chunks_products(story, product, clocks):
    run_id = story.listed(count=2, chunk_size=2)
    outcomes = [Classified(product(clock).product_id, NONE_PUBLISHED) for clock in clocks]
    with pytest.raises(OutcomeRefused, match="exactly one outcome for each of its products"):
        story.settle(run_id, 1, outcomes)
    assert story.rows("SELECT count(*) FROM outcome") == [(0,)]


@pytest.mark.parametrize(
    "scores",
    [[0.5] * 24, [0.5] * 26, [1.1, *[0.5] * 24], [-0.1, *[0.5] * 24], [float("nan")] * 25],
    ids=["24", "26", "above 1", "below 0", "nan"],
)
def test_scores_have_to_be_25_probabilities(story, product, scores):
    run_id = story.listed(count=1)
    with pytest.raises(OutcomeRefused, match=f"scores of {product(1).product_id} are not 25"):
        story.settle(run_id, 1, [Classified(product(1).product_id, scores)])


def test_two_workers_that_publish_the_same_chunk_at_once_publish_it_once(story, product):
    run_id = story.listed(count=32, chunk_size=32)
    outcomes = [
        Classified(product(clock).product_id, scores_with(rod=0.95)) for clock in range(1, 33)
    ]
    with ThreadPoolExecutor(2) as pool:
        did = list(pool.map(lambda _: story.settle(run_id, 1, outcomes), range(2)))
    assert sorted(did) == [False, True]
    assert story.rows("SELECT count(*) FROM classification") == [(32,)]


def test_the_last_two_chunks_published_at_once_finish_the_run(story):
    run_id = story.listed(count=16, chunk_size=2)
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda number: story.publish(run_id, number), range(1, 9)))
    assert ledger.get_run(story.engine, run_id).state is RunState.FINISHED


def test_runs_over_the_same_products_in_other_orders_do_not_block_each_other(story, product):
    products = [product(clock) for clock in range(1, 65)]
    forwards = story.listed_products(products, chunk_size=16, reclassify=True)
    backwards = story.listed_products(products[::-1], chunk_size=64, reclassify=True)
    jobs = [(forwards, number) for number in range(1, 5)] + [(backwards, 1)]
    with ThreadPoolExecutor(5) as pool:
        assert all(pool.map(lambda job: story.publish(*job), jobs))
    assert ledger.reconcile(story.engine, forwards).ok
    assert ledger.reconcile(story.engine, backwards).ok


@pytest.fixture
def one_deadlock(story):
    """The first outcome that is written meets a deadlock; a sequence does not roll back."""
    story.execute("CREATE SEQUENCE writes")
    story.execute("""
        CREATE FUNCTION deadlock_once() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF nextval('writes') = 1 THEN RAISE SQLSTATE '40P01'; END IF;
            RETURN NEW;
        END $$
    """)
    story.execute(
        "CREATE TRIGGER deadlock BEFORE INSERT ON outcome"
        " FOR EACH ROW EXECUTE FUNCTION deadlock_once()"
    )
    yield
    story.execute("DROP FUNCTION deadlock_once CASCADE")
    story.execute("DROP SEQUENCE writes")


def test_publishing_is_retried_after_a_deadlock(story, one_deadlock, product):
    story.classified([product(1)], scores_with(rod=0.95))
    assert set(published(story)) == {"rod"}
    assert story.rows("SELECT last_value FROM writes") == [(2,)]
