"""Chunks: claiming, heartbeats, release, and splitting after lost workers."""

import pytest

from mernet.db import ledger
from mernet.db.ledger import Chunk, Lost, RunState, Split

LONG_AGO = (
    "UPDATE chunk SET last_heartbeat_at = now() - interval '601 seconds' WHERE state = 'claimed'"
)


def test_a_claimed_chunk_brings_its_products_sorted_and_its_classifier(story, product):
    run_id = story.listed_products([product(2), product(1)])
    claimed = story.claim(run_id, 1)
    assert claimed == Chunk(run_id, 1, "a" * 64, 1, (product(1), product(2)))


@pytest.mark.parametrize(("run_id", "number"), [(1, 99), (99, 1)])
def test_a_message_of_a_chunk_that_does_not_exist_is_nothing_to_do(story, run_id, number):
    story.listed()
    assert story.claim(run_id, number) is None


def test_a_chunk_belongs_to_one_claimant_until_its_lease_expires(story):
    run_id = story.listed()
    assert story.claim(run_id, 1, "one").attempts == 1
    assert story.claim(run_id, 1, "two") is None
    story.execute(LONG_AGO)
    assert story.claim(run_id, 1, "two").attempts == 2
    assert story.claim(run_id, 1, "one") is None


def test_a_claim_whose_answer_was_lost_is_repeated_without_counting_again(story):
    run_id = story.listed()
    assert [story.claim(run_id, 1, "one").attempts for _ in range(9)] == [1] * 9


def test_a_message_that_is_delivered_again_and_again_is_not_an_attempt(story):
    run_id = story.listed()
    claimed = story.claim(run_id, 1, "first delivery")
    assert [story.claim(run_id, 1, f"delivery {number}") for number in range(9)] == [None] * 9
    story.lose_claims()
    assert story.claim(run_id, 1, "after the loss").attempts == claimed.attempts + 1


def test_a_heartbeat_extends_the_lease_of_a_chunk(story):
    run_id = story.listed()
    story.claim(run_id, 1, "one")
    story.execute(LONG_AGO)
    assert ledger.heartbeat(story.engine, run_id, 1, "one")
    assert story.claim(run_id, 1, "two") is None


def test_a_heartbeat_is_refused_when_the_work_should_stop(story):
    run_id = story.listed()
    story.claim(run_id, 1, "one")
    assert not ledger.heartbeat(story.engine, run_id, 1, "two")
    story.execute(LONG_AGO)
    story.claim(run_id, 1, "two")
    assert not ledger.heartbeat(story.engine, run_id, 1, "one")
    ledger.cancel_run(story.engine, run_id)
    assert not ledger.heartbeat(story.engine, run_id, 1, "two")


@pytest.mark.parametrize(("counted", "next_attempt"), [(False, 1), (True, 2)])
def test_a_released_chunk_can_be_claimed_at_once_and_due_to_be_sent(story, counted, next_attempt):
    run_id = story.listed(count=4)
    ledger.mark_sent(story.engine, run_id, 1)
    story.claim(run_id, 1, "one")
    assert ledger.release(story.engine, run_id, 1, "one", counted=counted)
    assert ledger.take_unsent(story.engine, run_id, 99) == [1]
    assert story.claim(run_id, 1, "two").attempts == next_attempt


def test_only_its_claimant_can_release_a_chunk(story):
    run_id = story.listed()
    story.claim(run_id, 1, "one")
    assert not ledger.release(story.engine, run_id, 1, "two", counted=True)
    assert story.claim(run_id, 1, "two") is None


def test_a_closed_chunk_is_nothing_to_do(story):
    run_id = story.listed(count=8, chunk_size=4)
    story.publish(run_id, 1)
    assert story.claim(run_id, 1) is None


def give_up(story, run_id, number, errors):
    """Return the result of a claim after attempts with these errors; None is a lost worker."""
    for attempt, error in enumerate(errors):
        claimant = f"worker {attempt}"
        assert isinstance(story.claim(run_id, number, claimant), Chunk)
        if error is not None:
            assert ledger.release(story.engine, run_id, number, claimant, True, error)
        story.lose_claims()
    return story.claim(run_id, number)


def test_a_product_given_up_after_errors_has_the_last_one_as_detail(story, product):
    run_id = story.listed(count=1)
    errors = ["KeyError: 'x'", "ValueError: of \0", None]
    assert give_up(story, run_id, 1, errors) == Lost(run_id, product(1).product_id)
    assert ledger.progress(story.engine, run_id).failures == {"internal error": 1}
    [(detail,)] = story.rows("SELECT detail FROM outcome")
    assert detail.startswith("It was tried 3 times")
    assert detail.endswith("The last error: ValueError: of ?")


def test_the_halves_of_a_split_chunk_start_without_its_error(story):
    run_id = story.listed(count=2)
    assert give_up(story, run_id, 1, ["KeyError: 'x'"] * 3) == Split(run_id, (2, 3))
    assert isinstance(give_up(story, run_id, 2, [None] * 3), Lost)
    assert ledger.progress(story.engine, run_id).failures == {"worker lost": 1}


def test_an_attempt_that_does_not_count_leaves_no_error(story):
    run_id = story.listed(count=1)
    story.claim(run_id, 1)
    assert ledger.release(story.engine, run_id, 1, "worker", counted=False, error="SystemExit: 0")
    assert isinstance(give_up(story, run_id, 1, [None] * 3), Lost)
    assert ledger.progress(story.engine, run_id).failures == {"worker lost": 1}


def test_a_chunk_that_lost_three_workers_is_split_in_two(story, product):
    run_id = story.listed(count=5, chunk_size=5)
    assert give_up(story, run_id, 1, [None] * 3) == Split(run_id, (2, 3))
    assert ledger.take_unsent(story.engine, run_id, 99) == [2, 3]
    halves = [story.claim(run_id, number) for number in (2, 3)]
    assert [each.attempts for each in halves] == [1, 1]
    assert halves[0].products == (product(1), product(2))
    assert halves[1].products == (product(3), product(4), product(5))
    assert story.claim(run_id, 1) is None


def test_the_one_product_that_kills_workers_is_found_and_the_rest_is_classified(story, product):
    run_id = story.listed(count=8, chunk_size=8)
    killer = product(6)
    to_do, lost = [1], []
    while to_do:
        number = to_do.pop()
        claimed = story.claim(run_id, number)
        match claimed:
            case Chunk() if killer in claimed.products:
                story.execute("UPDATE chunk SET claimed_by = 'dead' WHERE state = 'claimed'")
                story.lose_claims()
                to_do.append(number)
            case Chunk():
                assert story.publish(run_id, number)
            case Split():
                to_do.extend(claimed.numbers)
            case Lost():
                lost.append(claimed.product_id)
    assert lost == [killer.product_id]
    progress = ledger.progress(story.engine, run_id)
    assert progress.run.state is RunState.FINISHED
    assert (progress.classified, progress.failures) == (7, {"worker lost": 1})
    detail = story.rows("SELECT detail, attempts FROM outcome WHERE state = 'failed'")
    assert detail[0][0].startswith("Its worker ended 3 times")
    assert detail[0][1] == 3
    assert ledger.reconcile(story.engine, run_id).ok


def test_a_run_with_unsent_chunks_is_known_until_they_are_sent(story):
    run_id = story.listed(count=8, chunk_size=4)
    assert ledger.unsent_runs(story.engine) == [run_id]
    assert ledger.take_unsent(story.engine, run_id, 99) == [1, 2]
    assert ledger.unsent_runs(story.engine) == []
    ledger.mark_unsent(story.engine, run_id, [2])
    assert ledger.take_unsent(story.engine, run_id, 99) == [2]


def test_a_chunk_sent_long_ago_and_not_claimed_is_due(story):
    run_id = story.listed(count=4)
    ledger.mark_sent(story.engine, run_id, 1)
    story.execute("UPDATE chunk SET sent_at = now() - interval '601 seconds'")
    assert ledger.stale(story.engine, 600, 600) == [(run_id, 1)]


def test_a_claimed_chunk_is_due_when_its_lease_expires_and_then_after_the_resend_time(story):
    run_id = story.listed(count=4)
    ledger.mark_sent(story.engine, run_id, 1)
    story.execute("UPDATE chunk SET sent_at = now() - interval '1 hour'")
    story.claim(run_id, 1)
    assert ledger.stale(story.engine, 600, 600) == []
    story.execute(LONG_AGO)
    assert ledger.stale(story.engine, 600, 600) == [(run_id, 1)]
    ledger.mark_sent(story.engine, run_id, 1)
    assert ledger.stale(story.engine, 600, 600) == []


def test_a_listing_is_due_like_a_chunk_without_number(story):
    run_id = ledger.create_run(story.engine, ledger.NewRun(("sample",))).run_id
    assert ledger.stale(story.engine, 600, 600) == [(run_id, None)]
    ledger.mark_listing_sent(story.engine, run_id)
    assert ledger.stale(story.engine, 600, 600) == []
    ledger.claim_listing(story.engine, run_id, "one", 600, 3)
    story.execute("UPDATE run SET last_heartbeat_at = now() - interval '601 seconds'")
    story.execute("UPDATE run SET sent_at = last_heartbeat_at - interval '1 second'")
    assert ledger.stale(story.engine, 600, 600) == [(run_id, None)]


def test_a_done_chunk_is_never_due(story):
    run_id = story.listed(count=4)
    story.publish(run_id, 1)
    assert ledger.stale(story.engine, 0, 0) == []
