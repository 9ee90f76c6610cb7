"""The rate of a run: recent while it is open, overall once it has ended."""

import pytest

from mernet.db import ledger


@pytest.fixture
def run_id(story):
    """A run of two chunks of four, created 1000 seconds ago."""
    run_id = story.listed(count=8, chunk_size=4)
    story.execute("UPDATE run SET created_at = now() - interval '1000 s'")
    return run_id


def closed(story, number, seconds_ago):
    story.execute(
        "UPDATE chunk SET closed_at = now() - make_interval(secs => :ago) WHERE number = :number",
        ago=seconds_ago,
        number=number,
    )


def test_an_open_run_s_rate_is_that_of_the_last_five_minutes(story, run_id):
    story.publish(run_id, 1)
    now = ledger.progress(story.engine, run_id)
    assert now.rate == pytest.approx(4 / 300)
    assert now.seconds_left == pytest.approx(300)


def test_without_recent_progress_there_is_no_time_left(story, run_id):
    story.publish(run_id, 1)
    closed(story, 1, seconds_ago=400)
    now = ledger.progress(story.engine, run_id)
    assert (now.rate, now.seconds_left) == (0, None)


def test_a_young_run_s_rate_counts_from_its_start(story, run_id):
    story.execute("UPDATE run SET created_at = now() - interval '100 s'")
    story.publish(run_id, 1)
    assert ledger.progress(story.engine, run_id).rate == pytest.approx(4 / 100, rel=0.05)


def test_a_run_that_has_ended_has_its_rate_over_all(story, run_id):
    for number in (1, 2):
        story.publish(run_id, number)
    closed(story, 1, seconds_ago=900)
    now = ledger.progress(story.engine, run_id)
    assert now.rate == pytest.approx(8 / 1000, rel=0.05)
    assert now.seconds_left is None
