"""Chunks that wait for what they need: not claimed, not sent, not counted, until their time."""

from mernet.db import ledger
from mernet.db.ledger import Chunk

TIME_PASSES = "UPDATE chunk SET not_before = not_before - interval '61 seconds'"


def postpone(story, run_id, claimant="worker", seconds=60):
    return ledger.postpone(story.engine, run_id, 1, claimant, seconds, "the host is down")


def test_a_postponed_chunk_is_neither_claimed_nor_sent_before_its_time(story):
    run_id = story.listed(count=4)
    story.claim(run_id, 1)
    assert postpone(story, run_id)
    assert story.claim(run_id, 1) is None
    assert ledger.take_unsent(story.engine, run_id, 99) == []
    assert ledger.stale(story.engine, 0, 0) == []


def test_a_postponed_chunk_is_sent_and_claimed_after_its_time(story):
    run_id = story.listed(count=4)
    story.claim(run_id, 1)
    postpone(story, run_id)
    story.execute(TIME_PASSES)
    assert ledger.unsent_runs(story.engine) == [run_id]
    assert ledger.take_unsent(story.engine, run_id, 99) == [1]
    assert isinstance(story.claim(run_id, 1), Chunk)


def test_waiting_is_not_an_attempt(story):
    run_id = story.listed(count=4)
    for _ in range(10):
        assert story.claim(run_id, 1).attempts == 1
        postpone(story, run_id)
        story.execute(TIME_PASSES)


def test_what_a_chunk_waits_for_is_stored_until_it_is_claimed(story):
    run_id = story.listed(count=4)
    story.claim(run_id, 1)
    postpone(story, run_id)
    assert story.rows("SELECT wait_reason FROM chunk") == [("the host is down",)]
    story.execute(TIME_PASSES)
    story.claim(run_id, 1)
    assert story.rows("SELECT wait_reason, not_before FROM chunk") == [(None, None)]


def test_only_its_claimant_can_postpone_a_chunk(story):
    run_id = story.listed(count=4)
    story.claim(run_id, 1, "one")
    assert not postpone(story, run_id, "two")
    assert story.rows("SELECT state, not_before FROM chunk") == [("claimed", None)]


def test_a_message_received_too_early_leaves_the_chunk_to_be_sent_later(story):
    run_id = story.listed(count=4)
    story.claim(run_id, 1)
    postpone(story, run_id)
    ledger.mark_sent(story.engine, run_id, 1)
    assert story.claim(run_id, 1) is None
    story.execute(TIME_PASSES)
    assert ledger.take_unsent(story.engine, run_id, 99) == [1]
