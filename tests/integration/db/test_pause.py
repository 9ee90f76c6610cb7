"""Pausing: no chunk is claimed any more, claimed ones are published, and resuming loses none."""

import pytest

from mernet.db import ledger
from mernet.db.errors import RunClosed, UnknownRun
from mernet.db.ledger import Chunk, NewRun, RunState
from mernet.db.publish import Classified

SCORES = [0.5] * 25


def sent(story, run_id):
    assert ledger.take_unsent(story.engine, run_id, 99)


def test_no_chunk_of_a_paused_run_is_claimed_until_it_is_resumed(story):
    run_id = story.listed()
    assert ledger.pause_run(story.engine, run_id).condition == "paused"
    assert story.claim(run_id, 1) is None
    assert ledger.resume_run(story.engine, run_id).condition == "running"
    assert isinstance(story.claim(run_id, 1), Chunk)


def test_a_chunk_claimed_before_is_published_and_finishes_the_run(story):
    run_id = story.listed(count=4)
    claimed = story.claim(run_id, 1)
    ledger.pause_run(story.engine, run_id)
    assert ledger.heartbeat(story.engine, run_id, 1, "worker")
    outcomes = [Classified(product.product_id, SCORES) for product in claimed.products]
    assert ledger.publish_chunk(story.engine, claimed, "worker", outcomes)
    run = ledger.get_run(story.engine, run_id)
    assert (run.state, run.condition) == (RunState.FINISHED, "finished")


def test_the_sweep_leaves_a_paused_run_alone(story):
    run_id, other = story.listed(), story.listed()
    ledger.pause_run(story.engine, run_id)
    assert ledger.unsent_runs(story.engine) == [other]
    assert ledger.take_unsent(story.engine, run_id, 99) == []


def test_after_resuming_chunks_whose_messages_were_used_up_are_unsent_and_no_others(story):
    run_id = story.listed(count=12)
    sent(story, run_id)
    ledger.pause_run(story.engine, run_id)
    story.claim(run_id, 2)
    ledger.resume_run(story.engine, run_id)
    assert ledger.take_unsent(story.engine, run_id, 99) == [2]


def test_a_run_paused_while_it_is_listed_is_listed_and_then_waits(story, product):
    run_id = ledger.create_run(story.engine, NewRun(archives=("sample",))).run_id
    ledger.claim_listing(story.engine, run_id, "lister", 600, 3)
    ledger.pause_run(story.engine, run_id)
    assert story.list_run(run_id, [product(1)])
    assert ledger.take_unsent(story.engine, run_id, 99) == []
    ledger.resume_run(story.engine, run_id)
    assert ledger.take_unsent(story.engine, run_id, 99) == [1]


def test_a_paused_run_can_be_cancelled(story):
    run_id = story.listed()
    ledger.pause_run(story.engine, run_id)
    assert ledger.cancel_run(story.engine, run_id).condition == "cancelled"


def test_only_an_open_run_can_be_paused_or_resumed(story):
    run_id = story.listed_products([])
    for change in (ledger.pause_run, ledger.resume_run):
        with pytest.raises(RunClosed, match="is already finished"):
            change(story.engine, run_id)
        with pytest.raises(UnknownRun):
            change(story.engine, 99)
