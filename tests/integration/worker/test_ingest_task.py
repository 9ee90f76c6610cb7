"""The scheduled ingest: its failures are in the log and in Flower."""

import errno
import logging

import pytest

from fixtures.index_volume import name
from mernet.db import ledger, obstacles
from mernet.db.obstacles import ObstacleKind, Patience
from mernet.pds.fetch import Fetcher
from mernet.worker import ingest, listing_source, tasks
from mernet.worker.errors import ArchivesNotListed
from mernet.worker.held_lock import hold_lock
from mernet.worker.scheduler import SCHEDULED_INGEST
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


DAY, LEASE, RETRY = 86400, 20, 300


def is_due(story):
    return ledger.is_due(story.engine, SCHEDULED_INGEST, DAY, LEASE)


def later(story):
    """Let five minutes pass, in which nobody sends a heartbeat."""
    story.execute(
        "UPDATE service_lock SET since = since - interval '301 seconds',"
        " heartbeat_at = heartbeat_at - interval '301 seconds',"
        " next_start_at = next_start_at - interval '301 seconds'"
    )


def test_an_ingest_whose_worker_was_lost_is_due_again_soon_and_not_only_after_its_interval(story):
    key = story.engine, SCHEDULED_INGEST
    assert ledger.start_if_due(*key, "lost", DAY, LEASE, RETRY)
    assert not is_due(story)
    later(story)
    assert is_due(story)
    assert ledger.start_if_due(*key, "next", DAY, LEASE, RETRY)


def test_an_ingest_that_found_another_one_is_due_again_soon(story, task, url):
    with hold_lock(story.engine, ledger.INGEST_LOCK):
        assert task(url, ingest_seconds=DAY).state == "FAILURE"
    assert not is_due(story)
    later(story)
    assert is_due(story)
    assert "Run 1" in task(url, ingest_seconds=DAY).get()
    later(story)
    assert not is_due(story)


def test_an_ingest_that_is_refused_is_due_again_after_its_interval(story, task, volume, url):
    volume.lists(*map(name, range(300)))
    task(url)
    volume.lists(name(1))
    assert task(url).state == "FAILURE"
    later(story)
    assert not is_due(story)


DOWN = "http://127.0.0.1:9/volume/"
OTHER_DOWN = "http://127.0.0.1:9/other/"


@pytest.fixture
def asked(monkeypatch):
    """The archives whose host was probed."""
    asked, probe = [], listing_source.why_archives_fail

    def why_archives_fail(engine, archives, *args):
        asked.append(archives)
        return probe(engine, archives, *args)

    for module in (ingest, listing_source):
        monkeypatch.setattr(module, "why_archives_fail", why_archives_fail)
    return asked


def let_next_try_be_due(story):
    for column, table in (("next_try_at", "obstacle"), ("next_start_at", "service_lock")):
        story.execute(f"UPDATE {table} SET {column} = now()")


@pytest.mark.parametrize("with_another", [False, True])
def test_an_archive_that_is_down_is_tried_again_at_its_next_try(
    story, task, url, sent, with_another
):
    archives = (DOWN, url) if with_another else (DOWN,)
    task(*archives, ingest_seconds=DAY)
    [found] = obstacles.current(story.engine)
    assert (found.subject, found.run_ids) == ("http://127.0.0.1:9", ())
    assert not is_due(story)
    let_next_try_be_due(story)
    assert is_due(story)
    assert task(*archives, ingest_seconds=DAY).get(propagate=False) != "nothing to do"
    [again] = obstacles.current(story.engine)
    assert again.seconds_left > 0
    assert again.last_seen_at > found.last_seen_at


def test_the_ingest_is_due_when_a_run_finds_that_the_host_answers_again(story, task):
    task(DOWN, ingest_seconds=DAY)
    assert not is_due(story)
    obstacles.clear(story.engine, ObstacleKind.ARCHIVE_HOST, "http://127.0.0.1:9")
    assert is_due(story)


@pytest.mark.parametrize(
    "fault", [MemoryError(), OSError(errno.ENOSPC, "No space left"), OSError(errno.EMFILE, "many")]
)
def test_a_machine_that_lacks_something_makes_the_ingest_wait(
    story, task, url, complaints, monkeypatch, fault
):
    def fail(*args, **options):
        raise fault

    with monkeypatch.context() as lacking:
        lacking.setattr("mernet.worker.ingest.list_products", fail)
        lacking.setattr("mernet.worker.faults.is_memory_left", lambda: False)
        failed = task(url, ingest_seconds=DAY)
    assert failed.state == "FAILURE"
    assert isinstance(failed.result, ArchivesNotListed), "Celery ends a worker for a MemoryError"
    [(level, text)] = complaints()
    assert (level, text.startswith("ingest failed: On ")) == ("ERROR", True)
    [found] = obstacles.current(story.engine)
    assert (found.kind, found.run_ids) == ("machine", ())
    assert not is_due(story)
    let_next_try_be_due(story)
    assert is_due(story)
    assert task(url, ingest_seconds=DAY).state == "SUCCESS"
    assert obstacles.current(story.engine) == []


def test_when_all_is_listed_the_next_ingest_is_after_the_interval_and_nothing_waits(
    story, task, url, sent
):
    task(DOWN, url, ingest_seconds=DAY)
    let_next_try_be_due(story)
    task(url, ingest_seconds=DAY)
    assert obstacles.current(story.engine) == []
    later(story)
    assert not is_due(story)


def test_archives_on_a_host_that_is_down_cost_one_probe(story, task, asked):
    task(DOWN, OTHER_DOWN)
    assert len(asked) == 1
    let_next_try_be_due(story)
    task(DOWN, OTHER_DOWN)
    assert len(asked) == 2


def test_what_keeps_several_archives_from_being_listed_is_told_once(run_ingest):
    with pytest.raises(ArchivesNotListed) as refused:
        run_ingest(DOWN, OTHER_DOWN)
    assert str(refused.value).count("is down") == 1


def test_a_host_that_is_known_to_be_down_is_not_asked_before_its_next_try(story, task, asked):
    host = "http://127.0.0.1:9"
    patience = Patience(60, 300)
    obstacles.report(story.engine, ObstacleKind.ARCHIVE_HOST, host, "refused", patience)
    assert task(DOWN, ingest_seconds=DAY).state == "FAILURE"
    assert asked == []
    [found] = obstacles.current(story.engine)
    assert found.seconds_left > 30
    assert not is_due(story)


def test_what_a_person_asks_for_is_tried_at_once_and_leaves_nothing_that_waits(
    story, run_ingest, asked
):
    for _ in range(2):
        with pytest.raises(ArchivesNotListed):
            run_ingest(DOWN, OTHER_DOWN)
    assert len(asked) == 2
    assert obstacles.current(story.engine) == []
