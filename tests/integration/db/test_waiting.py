"""Chunks that wait for what they need: not claimed, not sent, not counted, until the next try."""

import pytest

from mernet.db import ledger, obstacles
from mernet.db.ledger import Chunk, NewRun, NotListed
from mernet.db.obstacles import ObstacleKind, Patience

HOST = ObstacleKind.ARCHIVE_HOST
URL = "https://example.org"
TIME_PASSES = "UPDATE obstacle SET next_try_at = next_try_at - interval '61 seconds'"


def meet(story):
    return obstacles.report(story.engine, HOST, URL, "it is down", Patience(60, 60))


def postpone(story, run_id, number=1, claimant="worker", sources=("",)):
    meet(story)
    return ledger.postpone(story.engine, run_id, number, claimant, HOST, URL, sources)


def take(story, run_id):
    return ledger.take_unsent(story.engine, run_id, 99)


def test_a_postponed_chunk_is_neither_claimed_nor_sent_before_its_time(story):
    run_id = story.listed(count=4)
    story.claim(run_id, 1)
    assert postpone(story, run_id)
    assert story.claim(run_id, 1) is None
    assert take(story, run_id) == []
    assert ledger.stale(story.engine, 0, 0) == []


def test_a_postponed_chunk_is_sent_and_claimed_after_its_time(story):
    run_id = story.listed(count=4)
    story.claim(run_id, 1)
    postpone(story, run_id)
    story.execute(TIME_PASSES)
    assert ledger.unsent_runs(story.engine) == [run_id]
    assert take(story, run_id) == [1]
    assert isinstance(story.claim(run_id, 1), Chunk)


def test_waiting_is_not_an_attempt(story):
    run_id = story.listed(count=4)
    for _ in range(10):
        assert story.claim(run_id, 1).attempts == 1
        postpone(story, run_id)
        story.execute(TIME_PASSES)
    assert story.rows("SELECT sources FROM chunk") == [([""],)]


def test_only_its_claimant_can_postpone_a_chunk(story):
    run_id = story.listed(count=4)
    story.claim(run_id, 1, "one")
    assert not postpone(story, run_id, claimant="two")
    assert story.rows("SELECT state FROM chunk") == [("claimed",)]
    assert story.rows("SELECT * FROM run_obstacle") == []


def test_a_message_received_too_early_leaves_the_chunk_to_be_sent_later(story):
    run_id = story.listed(count=4)
    story.claim(run_id, 1)
    postpone(story, run_id)
    ledger.mark_sent(story.engine, run_id, 1)
    assert story.claim(run_id, 1) is None
    story.execute(TIME_PASSES)
    assert take(story, run_id) == [1]


@pytest.mark.parametrize("event", ["an obstacle", "a pause"])
def test_a_claim_whose_answer_was_lost_is_given_back_if_the_chunk_is_not_wanted_by_then(
    story, event
):
    run_id = story.listed(count=8)
    story.claim(run_id, 1, "first")
    story.claim(run_id, 2, "second")
    if event == "a pause":
        ledger.pause_run(story.engine, run_id)
    else:
        postpone(story, run_id, claimant="first")
    assert story.claim(run_id, 2, "second") is None
    assert story.rows("SELECT state, attempts, claimed_by FROM chunk WHERE number = 2") == [
        ("ready", 0, None)
    ]


def test_of_a_run_that_waits_no_chunk_is_claimed_only_to_be_put_off(story):
    run_id = story.listed(count=40)
    story.claim(run_id, 1)
    postpone(story, run_id)
    assert take(story, run_id) == []
    assert story.claim(run_id, 5) is None


def test_one_chunk_of_a_run_that_waits_finds_out_at_the_next_try(story):
    run_id = story.listed(count=40)
    story.claim(run_id, 1)
    postpone(story, run_id)
    story.execute(TIME_PASSES)
    assert take(story, run_id) == [1]
    assert take(story, run_id) == []
    story.claim(run_id, 1)
    postpone(story, run_id)
    assert take(story, run_id) == []


def test_all_chunks_of_a_run_that_waited_come_back_at_once_when_the_obstacle_is_gone(story):
    run_id = story.listed(count=40)
    story.claim(run_id, 1)
    postpone(story, run_id)
    obstacles.clear(story.engine, HOST, URL)
    assert take(story, run_id) == list(range(1, 11))


def test_chunks_of_other_archives_go_on_while_one_is_waited_for(story, product):
    down, up = ([product(clock + n, source=source) for clock in range(1, 9)]
                for n, source in ((0, "https://down/"), (100, "https://up/")))  # fmt: skip
    run_id = story.listed_products([*down, *up])
    story.claim(run_id, 1)
    postpone(story, run_id, sources=["https://down/"])
    assert take(story, run_id) == [3, 4]
    story.execute(TIME_PASSES)
    assert take(story, run_id) == [1]


def test_the_claim_of_a_lost_worker_is_not_sent_again_and_again_while_its_run_waits(story):
    run_id = story.listed(count=8)
    for number in (1, 2):
        story.claim(run_id, number)
    postpone(story, run_id)
    story.lose_claims()
    assert ledger.stale(story.engine, 600, 600) == [(run_id, 2)]
    assert story.claim(run_id, 2, "another") is None
    assert ledger.stale(story.engine, 600, 600) == []


def test_a_chunk_that_only_this_worker_cannot_do_is_sent_to_others_at_once(story):
    run_id = story.listed(count=4)
    story.claim(run_id, 1)
    postpone(story, run_id, sources=())
    assert take(story, run_id) == [1]
    assert story.rows("SELECT count(*) FROM run_obstacle") == [(1,)]


def test_a_chunk_whose_products_another_archive_lists_by_now_waits_for_that_one(story):
    run_id = story.listed(count=8)
    story.execute("UPDATE product SET source = 'https://other/' WHERE sol <= 4")
    story.claim(run_id, 1)
    postpone(story, run_id, sources=["https://other/"])
    assert take(story, run_id) == [2]
    assert story.claim(run_id, 1) is None


def condition(story, run_id):
    return ledger.get_run(story.engine, run_id).condition


@pytest.fixture
def put_off(story):
    """Claims a chunk and puts it off, with others of the archives that cannot be read."""

    def put_off(run_id, number, kind, sources):
        obstacles.report(story.engine, kind, "it", "it is down", Patience(60, 300))
        story.claim(run_id, number)
        assert ledger.postpone(story.engine, run_id, number, "worker", kind, "it", sources)

    return put_off


def test_a_run_is_waiting_if_all_that_is_left_of_it_needs_what_is_not_there(
    story, product, put_off
):
    products = [product(1, source="https://a/"), product(2, source="https://b/")]
    run_id = story.listed_products(products, chunk_size=1)
    assert condition(story, run_id) == "running"
    put_off(run_id, 1, ObstacleKind.ARCHIVE_HOST, ["https://a/"])
    assert condition(story, run_id) == "running", "the other archive is there"
    story.publish(run_id, 2)
    assert condition(story, run_id) == "waiting"
    assert [each.condition for each in ledger.open_runs(story.engine)] == ["waiting"]
    assert [each.condition for each in ledger.list_runs(story.engine)] == ["waiting"]
    obstacles.clear(story.engine, ObstacleKind.ARCHIVE_HOST, "it")
    assert condition(story, run_id) == "running"


def test_a_run_is_waiting_while_no_host_can_do_it_and_running_while_one_does(story, put_off):
    run_id = story.listed(count=8)
    put_off(run_id, 1, ObstacleKind.DEVICE, ())
    assert condition(story, run_id) == "waiting"
    story.claim(run_id, 2, "on another host")
    assert condition(story, run_id) == "running"
    story.lose_claims()
    assert condition(story, run_id) == "waiting"


def test_a_paused_or_ended_run_is_not_waiting(story, put_off):
    run_id = story.listed(count=4)
    put_off(run_id, 1, ObstacleKind.DATABASE, [""])
    assert condition(story, run_id) == "waiting"
    ledger.pause_run(story.engine, run_id)
    assert condition(story, run_id) == "paused"
    assert ledger.cancel_run(story.engine, run_id).condition == "cancelled"


def test_a_listing_that_waits_is_waiting(story):
    run_id = ledger.create_run(story.engine, NewRun(archives=("https://a/",))).run_id
    assert condition(story, run_id) == "listing"
    kind = ObstacleKind.MACHINE
    obstacles.report(story.engine, kind, "host", "its disk is full", Patience(60, 300))
    ledger.claim_listing(story.engine, run_id, "lister", 600, 3)
    assert condition(story, run_id) == "listing"
    left = NotListed(("https://a/",), waits=((kind, "host"),))
    assert ledger.record_not_listed(story.engine, run_id, "lister", left)
    assert condition(story, run_id) == "waiting"
