"""The scheduled ingest: its failures are in the log and in Flower."""

import logging

import pytest

from fixtures.index_volume import name
from mernet.db import ledger
from mernet.pds.fetch import Fetcher
from mernet.worker import tasks
from mernet.worker.settings import Settings


@pytest.fixture
def sent(monkeypatch):
    """The runs whose chunks were sent."""
    sent = []
    monkeypatch.setattr(tasks, "send_chunks", lambda _, run_id: sent.append(run_id))
    return sent


@pytest.fixture
def task(story, monkeypatch, sent):
    """One run of the task with these archives in the settings; gives its result."""

    def task(*archives, ingest_seconds=0.001):
        config = Settings(ingest_archives=archives, ingest_seconds=ingest_seconds)
        with Fetcher(attempts=1) as fetcher:
            monkeypatch.setattr(tasks, "settings", lambda: config)
            monkeypatch.setattr(tasks, "_engine", lambda: story.engine)
            monkeypatch.setattr(tasks, "_fetcher", lambda: fetcher)
            return tasks.ingest_new.apply()

    return task


@pytest.fixture
def complaints(caplog):
    """The levels and texts of all that was logged as a warning or worse, with any traceback."""
    caplog.set_level(logging.INFO)

    def complaints():
        serious = [each for each in caplog.records if each.levelno >= logging.WARNING]
        assert not any(each.exc_info for each in serious)
        return [(each.levelname, each.getMessage()) for each in serious]

    return complaints


def test_a_successful_ingest_logs_no_warning(task, complaints, sent, url):
    assert task(url).state == "SUCCESS"
    assert sent == [1]
    assert complaints() == []


def test_if_nothing_can_be_listed_the_task_fails_with_an_error_of_one_line(
    task, complaints, sent, url
):
    assert task(f"{url}nowhere/").state == "FAILURE"
    [(level, text)] = complaints()
    assert level == "ERROR"
    assert text.startswith("ingest failed: ")
    assert "nowhere" in text
    assert "\n" not in text
    assert sent == []


def test_an_archive_that_cannot_be_listed_beside_another_is_a_warning_and_the_run_is_sent(
    task, complaints, sent, url
):
    result = task(f"{url}nowhere/", url)
    assert result.state == "SUCCESS"
    assert "1 of 2 archives could not be listed" in result.get()
    [(level, text)] = complaints()
    assert (level, text.startswith("1 of 2 archives could not be listed")) == ("WARNING", True)
    assert sent == [1]


def test_a_listing_that_is_refused_is_an_error(task, complaints, volume, url):
    volume.lists(*map(name, range(300)))
    task(url)
    volume.lists(name(1))
    assert task(url).state == "FAILURE"
    [(level, text)] = complaints()
    assert level == "ERROR"
    assert "no longer lists 299 of its 300 known products" in text


def test_a_message_too_many_does_nothing(task, url):
    assert "Run 1" in task(url, ingest_seconds=3600).get()
    assert "not due" in task(url, ingest_seconds=3600).get()


def test_an_ingest_whose_worker_was_lost_is_due_again_soon_and_not_only_after_its_interval(story):
    day, lease, retry = 86400, 20, 300
    key = story.engine, "scheduled ingest"
    assert ledger.start_if_due(*key, "lost", day, lease, retry)
    assert not ledger.is_due(*key, day, lease, retry)
    story.execute(
        "UPDATE service_lock SET since = now() - interval '301 seconds',"
        " heartbeat_at = now() - interval '21 seconds'"
    )
    assert ledger.is_due(*key, day, lease, retry)
    assert ledger.start_if_due(*key, "next", day, lease, retry)
