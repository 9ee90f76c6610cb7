"""Obstacles: what work waits for, tried again by one worker, and cleared for all."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from fixtures.ledger import PATIENCE, make_product
from mernet.db import ledger, obstacles
from mernet.db.ledger import NewRun
from mernet.db.obstacles import ObstacleKind, Patience

HOST = ObstacleKind.ARCHIVE_HOST
URL = "https://example.org"


def report(story, reason="refused", run_id=None, patience=PATIENCE):
    if run_id is not None:
        return story.meet(run_id, HOST, URL, reason, patience)
    seconds = obstacles.report(story.engine, HOST, URL, reason, patience)
    obstacles.let_ingest_wait(story.engine, [(HOST, URL)])
    return seconds


def met_before(story, seconds):
    story.execute("UPDATE obstacle SET since = now() - make_interval(secs => :s)", s=seconds)


def test_an_obstacle_says_what_waits_since_when_and_when_it_is_tried_next(story):
    run_id = story.listed()
    report(story, run_id=run_id)
    [found] = obstacles.current(story.engine)
    assert (found.kind, found.subject, found.reason) == ("archive host", URL, "refused")
    assert found.run_ids == (run_id,)
    assert found.since == found.last_seen_at < found.next_try_at
    assert 4 < found.seconds_left <= 5


def test_a_second_report_keeps_since_and_updates_the_reason(story):
    report(story)
    met_before(story, 60)
    [before] = obstacles.current(story.engine)
    report(story, "answered with 503")
    [after] = obstacles.current(story.engine)
    assert (after.since, after.reason) == (before.since, "answered with 503")
    assert after.last_seen_at > before.last_seen_at


@pytest.mark.parametrize(("down", "seconds"), [(0, 5), (80, 10), (800, 100), (86_400, 300)])
def test_the_wait_grows_with_the_time_that_the_obstacle_is_known(story, down, seconds):
    report(story)
    met_before(story, down)
    assert report(story) == pytest.approx(seconds, abs=0.5)


@pytest.mark.parametrize(("asked_for", "seconds"), [(2, 5), (900, 900), (10.0**9, 3600)])
def test_a_wait_that_the_host_asked_for_is_honoured_within_a_bound(story, asked_for, seconds):
    assert report(story, patience=Patience(5, 300, asked_for)) == pytest.approx(seconds)
    assert report(story, patience=Patience(5, 300, asked_for)) == pytest.approx(seconds)


def test_only_one_worker_makes_the_next_try_and_only_when_it_is_due(story):
    report(story)
    assert not obstacles.claim_try(story.engine, HOST, URL, 60)
    story.execute("UPDATE obstacle SET next_try_at = now()")
    assert obstacles.claim_try(story.engine, HOST, URL, 60)
    assert not obstacles.claim_try(story.engine, HOST, URL, 60)


def test_a_try_of_a_worker_that_died_is_made_by_another(story):
    report(story)
    story.execute("UPDATE obstacle SET next_try_at = now()")
    assert obstacles.claim_try(story.engine, HOST, URL, 0)
    assert obstacles.claim_try(story.engine, HOST, URL, 60)


def test_what_waited_is_due_at_once_when_the_obstacle_is_cleared(story):
    run_id = story.listed(count=8)
    for number in (1, 2):
        story.claim(run_id, number)
        report(story)
        ledger.postpone(story.engine, run_id, number, "worker", HOST, URL, [""])
    assert story.claim(run_id, 1) is None
    assert obstacles.clear(story.engine, HOST, URL)
    assert story.claim(run_id, 1) is not None
    assert obstacles.current(story.engine) == []
    assert not obstacles.clear(story.engine, HOST, URL)


def test_an_obstacle_that_is_met_again_within_a_minute_was_never_gone(story):
    run_id = story.listed()
    report(story, run_id=run_id)
    met_before(story, 800)
    [before] = obstacles.current(story.engine)
    obstacles.clear(story.engine, HOST, URL)
    assert obstacles.current(story.engine) == []
    assert report(story) == pytest.approx(100, abs=0.5)
    [again] = obstacles.current(story.engine)
    assert (again.since, again.run_ids) == (before.since, ())


def test_an_obstacle_that_is_met_again_later_is_a_new_one(story):
    report(story)
    met_before(story, 800)
    obstacles.clear(story.engine, HOST, URL)
    story.execute("UPDATE obstacle SET cleared_at = cleared_at - interval '61 seconds'")
    assert report(story) == pytest.approx(5, abs=0.5)
    [again] = obstacles.current(story.engine)
    assert again.since == again.last_seen_at


def test_a_listing_that_waits_is_neither_sent_nor_claimed_until_its_time_and_does_not_count(story):
    run_id = ledger.create_run(story.engine, NewRun(archives=("sample",))).run_id
    for _ in range(5):
        assert ledger.claim_listing(story.engine, run_id, "lister", 600, 3).attempts == 1
        report(story)
        waits = ledger.NotListed(("sample",), waits=((HOST, URL),))
        assert not ledger.record_not_listed(story.engine, run_id, "another", waits)
        assert ledger.record_not_listed(story.engine, run_id, "lister", waits)
        assert ledger.stale(story.engine, 600, 600) == []
        assert ledger.claim_listing(story.engine, run_id, "lister", 600, 3) is None
        obstacles.clear(story.engine, HOST, URL)
        assert ledger.stale(story.engine, 600, 600) == [(run_id, None)]


def test_a_chunk_that_is_postponed_while_the_obstacle_is_cleared_has_nothing_to_wait_for(story):
    run_id = story.listed()
    story.claim(run_id, 1)
    report(story)
    with ThreadPoolExecutor(1) as pool:
        with story.engine.begin() as clearing:
            clearing.execute(sa.text("UPDATE obstacle SET cleared_at = now()"))
            postponed = pool.submit(
                ledger.postpone, story.engine, run_id, 1, "worker", HOST, URL, [""]
            )
            wait_for_a_lock(story, postponed)
        assert postponed.result()
    assert story.rows("SELECT * FROM run_obstacle") == []
    assert story.claim(run_id, 1) is not None


def wait_for_a_lock(story, work):
    """Wait until the session of other work waits for a lock, or the work is done."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    while story.rows(sql) == [(0,)] and not work.done():
        pass


OTHER_URL = "https://other.example.org"
BOTH = ((HOST, OTHER_URL), (HOST, URL))


def locked(connection, kind, subject):
    """Lock an obstacle until the transaction ends."""
    obstacle = sa.text("SELECT FROM obstacle WHERE kind = :k AND subject = :s FOR UPDATE")
    connection.execute(obstacle, {"k": kind, "s": subject})


def in_a_transaction(story, work, *args):
    with story.engine.begin() as connection:
        return work(connection, *args)


@pytest.mark.parametrize("event", ["clear", "nobody waits any more"])
def test_a_host_may_come_back_while_a_listing_is_put_off(story, event):
    run_id = waiting_listing(story, URL, OTHER_URL)
    put_off = (story, obstacles.let_listing_wait, run_id, BOTH)
    with ThreadPoolExecutor(1) as pool, story.engine.connect() as back:
        locked(back, HOST, URL)
        waiting = pool.submit(in_a_transaction, *put_off)
        wait_for_a_lock(story, waiting)
        if event == "clear":
            obstacles.remove(back, HOST, URL)
        else:
            obstacles.stop_waiting(back, HOST, [URL], run_id)
        back.commit()
        waiting.result()
    with story.engine.connect() as connection:
        assert not obstacles.listing_waits(connection, run_id)


def test_the_ingest_may_wait_while_a_host_comes_back(story):
    for kind, subject in BOTH:
        obstacles.report(story.engine, kind, subject, "refused", PATIENCE)
    obstacles.let_ingest_wait(story.engine, BOTH)
    ledger.start_if_due(story.engine, "ingest", "holder", 3600, 600, 60)
    ledger.plan_start(story.engine, "ingest", "holder", 3600)
    with ThreadPoolExecutor(1) as pool, story.engine.connect() as unwanted:
        locked(unwanted, HOST, URL)
        cleared = pool.submit(in_a_transaction, story, obstacles.remove, HOST, URL)
        wait_for_a_lock(story, cleared)
        obstacles.stop_waiting(unwanted, HOST, [URL], None)
        unwanted.commit()
        assert not cleared.result()


def test_an_obstacle_of_runs_that_have_ended_is_not_shown(story):
    run_id = story.listed()
    report(story, run_id=run_id)
    ledger.cancel_run(story.engine, run_id)
    assert obstacles.current(story.engine) == []


def test_an_obstacle_that_nobody_has_met_for_a_day_is_forgotten(story):
    report(story)
    story.execute("UPDATE obstacle SET last_seen_at = now() - interval '2 days'")
    assert len(obstacles.current(story.engine)) == 1, "its next try is still to come"
    story.execute("UPDATE obstacle SET next_try_at = now() - interval '2 days'")
    assert obstacles.current(story.engine) == []


def test_an_obstacle_that_neither_a_run_nor_the_scheduled_ingest_waits_for_is_not_told(story):
    report(story)
    obstacles.let_ingest_wait(story.engine, [])
    assert obstacles.current(story.engine) == []
    known = obstacles.last_due_among(story.engine, HOST, [URL])
    assert (known.subject, known.reason) == (URL, "refused")


def waiting_listing(story, *subjects):
    """A run with a chunk, and one archive to be listed that waits for each of these hosts."""
    archives = tuple(f"archive {subject}" for subject in subjects)
    run_id = ledger.create_run(story.engine, NewRun(archives=("first", *archives))).run_id
    ledger.claim_listing(story.engine, run_id, "lister", 600, 3)
    for subject in subjects:
        obstacles.report(story.engine, HOST, subject, "refused", PATIENCE)
    waits = ledger.NotListed(archives, waits=tuple((HOST, subject) for subject in subjects))
    product = make_product(1)
    assert ledger.record_listing(story.engine, run_id, "lister", [product], {}, waits)
    return run_id


def is_listing_due(story, run_id):
    return (run_id, None) in ledger.stale(story.engine, 600, 600)


def test_a_listing_that_waits_holds_back_no_chunk_of_other_archives(story):
    run_id = waiting_listing(story, URL)
    assert not is_listing_due(story, run_id)
    assert ledger.take_unsent(story.engine, run_id, 8) == [1]
    assert story.claim(run_id, 1) is not None


def test_a_chunk_that_waits_does_not_hold_back_the_listing_of_other_archives(story):
    run_id = waiting_listing(story)
    story.execute("UPDATE run SET unlisted = '{another}', finished_at = NULL, state = 'running'")
    story.claim(run_id, 1)
    report(story)
    ledger.postpone(story.engine, run_id, 1, "worker", HOST, URL, [""])
    assert is_listing_due(story, run_id)


@pytest.mark.parametrize("event", ["the first answers", "the next try of the first is due"])
def test_a_listing_that_waits_for_two_hosts_is_due_as_soon_as_one_may_be_tried(story, event):
    run_id = waiting_listing(story, URL, "https://example.com")
    assert not is_listing_due(story, run_id)
    if event == "the first answers":
        obstacles.clear(story.engine, HOST, URL)
    else:
        story.execute("UPDATE obstacle SET next_try_at = now() WHERE subject = :url", url=URL)
    assert is_listing_due(story, run_id)
    assert ledger.claim_listing(story.engine, run_id, "next", 600, 3).unlisted == (
        f"archive {URL}", "archive https://example.com",
    )  # fmt: skip


def test_transfers_of_a_chunk_and_of_a_listing_add_up(story):
    run_id = story.listed(count=8)
    for number, claimant in ((1, "first"), (1, "second"), (None, "lister")):
        ledger.add_transfers(story.engine, run_id, number, claimant, 100, 2)
    assert story.rows("SELECT fetched_bytes, retries FROM chunk ORDER BY number") == [
        (200, 4),
        (0, 0),
    ]
    assert story.rows("SELECT fetched_bytes, retries FROM run") == [(100, 2)]


@pytest.mark.parametrize("number", [1, None])
def test_transfers_are_added_once_if_the_first_answer_was_lost(story, number):
    run_id = story.listed()
    for _ in range(2):
        ledger.add_transfers(story.engine, run_id, number, "worker", 100, 2)
    assert ledger.run_transfers(story.engine, run_id) == ledger.RunTransfers(100, 2)


def test_what_work_waits_for_can_be_read_from_a_database_that_cannot_be_written(story):
    report(story)
    reader = story.engine.execution_options(postgresql_readonly=True)
    assert len(obstacles.current(reader)) == 1
