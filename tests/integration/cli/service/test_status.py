"""`mernet status`: what it says of products that failed, of other runs, and of the broker."""

import json

import pytest
import typer
from typer.testing import CliRunner

from mernet.cli.service.status import reconcile, status
from mernet.cli.shared.output import moment
from mernet.db import ledger, obstacles
from mernet.db.obstacles import ObstacleKind, Patience
from mernet.db.publish import Failed
from mernet.worker.broker import BrokerState
from mernet.worker.errors import BrokerError

QUEUES = ("listing", "classify")


@pytest.fixture
def broker():
    """What the broker answers: by default nothing waits, and a worker for each queue."""

    class Broker:
        waiting = dict.fromkeys(QUEUES, 0)
        consumers = dict.fromkeys(QUEUES, 1)
        workers = ("a@host",)

        def state(self) -> BrokerState:
            return BrokerState(self.waiting, 0, self.consumers, self.workers)

    return Broker()


@pytest.fixture
def said(story, broker, monkeypatch):
    """What `mernet status` prints, on both streams."""
    monkeypatch.setattr("mernet.cli.service.status.ledger", lambda **_: story.engine)
    monkeypatch.setattr("mernet.cli.service.status.broker_state", broker.state)
    app = typer.Typer()
    app.command()(status)

    def run(*words: str) -> str:
        ran = CliRunner().invoke(app, words)
        assert ran.exit_code == 0, ran.output
        return ran.stdout if "--json" in words else ran.output

    return run


@pytest.fixture
def failed_run(story, product) -> int:
    """A run whose one product failed."""
    run_id = story.listed(count=1)
    story.settle(run_id, 1, [Failed(product(1).product_id, "not found", "Gone.")])
    return run_id


def test_each_failed_product_is_told_where_asked_for(said, story, failed_run, product):
    name = product(1).product_id
    assert [name, "not", "found", "Gone."] in [
        each.split() for each in said("--failed").split("\n")
    ]
    assert name not in said()
    failed = json.loads(said("--failed", "--json"))["failed_products"]
    assert failed == [{"product_id": name, "reason": "not found", "detail": "Gone."}]
    assert "failed_products" not in json.loads(said("--json"))


def test_other_open_runs_are_told_where_no_number_was_given(said, story):
    full, ended, nightly = (story.listed(count=1, reclassify=True) for _ in range(3))
    ledger.cancel_run(story.engine, ended)
    assert f"Also open: run {full} (running)\n" in said()
    assert "Also open" not in said(str(nightly))
    assert json.loads(said("--json"))["also_open"] == [full]


def test_an_only_run_has_no_others(said, failed_run):
    assert "Also open" not in said()


def test_each_queue_is_told_with_its_workers(said, broker, failed_run):
    broker.consumers = {"listing": 1, "classify": 3}
    lines = [each.split() for each in said().split("\n")]
    assert ["queue", "messages", "workers"] in lines
    assert ["classify", "0", "3"] in lines


def test_a_queue_in_which_messages_wait_for_nobody_is_told_with_what_helps(
    said, broker, failed_run
):
    broker.waiting = {"listing": 4, "classify": 0}
    broker.consumers = {"listing": 0, "classify": 0}
    text = said()
    assert "Work waits in the queue listing" in text
    assert "`mernet worker --queue listing --no-scheduler --name listing`" in text
    assert text.count("Work waits") == 1, "an empty queue needs nobody"


def test_an_open_run_needs_its_queue_also_where_its_messages_are_lost(said, broker, story):
    story.listed(count=1)
    broker.consumers = {"listing": 0, "classify": 0}
    assert "Work waits in the queue classify" in said()
    ledger.create_run(story.engine, ledger.NewRun(archives=("sample",)))
    assert "Work waits in the queue listing" in said()


def test_a_paused_run_needs_nobody(said, broker, story):
    ledger.pause_run(story.engine, story.listed(count=1))
    broker.consumers = {"listing": 0, "classify": 0}
    assert "Work waits" not in said()


def test_where_no_worker_answers_that_alone_is_told(said, broker, story):
    story.listed(count=1)
    broker.consumers, broker.workers = dict.fromkeys(QUEUES, 0), ()
    assert "No worker answers" in said()
    assert "Work waits" not in said()


def test_markup_and_control_characters_in_names_are_shown_as_they_are(said, story, product):
    run_id = story.listed(count=1)
    detail = "\\[/b] [red]\x1b[2Jx"
    story.settle(run_id, 1, [Failed(product(1).product_id, "not found", detail)])
    assert r"\[/b] [red]\x1b[2Jx" in said("--failed")


def test_the_counts_of_a_run_have_one_word_each_and_its_times_are_told(said, story):
    story.publish(story.listed(count=2), 1)
    again = story.listed(count=3)
    assert (
        f"Run {again} is running: 3 products listed: 0 classified, 0 failed, 2 kept, 1 waiting"
        in (said())
    )
    assert "Kept as they were: 2 have an outcome from another run." in said()
    assert "ended" not in said()
    story.publish(again, 1)
    story.execute("UPDATE run SET created_at = finished_at")
    created, ended = story.rows(
        "SELECT created_at, finished_at FROM run WHERE run_id = :run_id", run_id=again
    )[0]
    expected = f"Started {moment(created)} UTC, ended {moment(ended)} UTC, after 0 s."
    assert expected in said()
    assert "done" not in said().replace("left undone", "")


def test_images_that_an_archive_has_are_counted_in_words(said, story, product):
    story.listed_products([product(1, source="https://example.org/")])
    copy = product(1, source="file:///mine/", collection="own")
    story.listed_products([copy, product(2, source="file:///mine/", collection="own")])
    assert "1 are in another archive or folder" in " ".join(said("2").split())


def test_a_run_that_failed_while_all_rows_stayed_is_no_success(story, product, monkeypatch):
    story.publish(story.listed(count=1), 1)
    run_id = story.listed(count=1, reclassify=True)
    story.claim(run_id, 1)
    busy = Failed(product(1).product_id, "transfer failed", "It was answered with 503.")
    story.settle(run_id, 1, [busy])
    monkeypatch.setattr("mernet.cli.service.status.ledger", lambda **_: story.engine)
    app = typer.Typer()
    app.command()(reconcile)
    ran = CliRunner().invoke(app, [])
    assert ran.exit_code == 3
    assert "1 products failed in this run. Complete: every listed product" in " ".join(
        ran.output.split()
    )
    assert story.rows("SELECT count(*) FROM atlas_search") == [(1,)]


NO_INDEX = "The archive B is not listed: its index is gone."


@pytest.fixture
def run_without_an_archive(story, product) -> int:
    """An open run of which one archive is listed, one cannot be, and one is still to be listed."""
    wanted = ledger.NewRun(archives=("A", "B", "C"))
    run_id = ledger.create_run(story.engine, wanted).run_id
    ledger.claim_listing(story.engine, run_id, "lister", 600, 3)
    not_listed = ledger.NotListed(("C",), NO_INDEX)
    ledger.record_listing(story.engine, run_id, "lister", [product(1)], {}, not_listed)
    return run_id


def reconciled(story, monkeypatch):
    monkeypatch.setattr("mernet.cli.service.status.ledger", lambda **_: story.engine)
    app = typer.Typer()
    app.command()(reconcile)
    ran = CliRunner().invoke(app, [])
    return ran.exit_code, " ".join(ran.output.split())


def test_archives_that_are_not_listed_are_told_with_what_to_do(
    said, story, run_without_an_archive, broker, monkeypatch
):
    broker.consumers = {"listing": 0, "classify": 1}
    words = " ".join(said().split())
    assert f"Continues without an archive: {NO_INDEX}" in words
    assert "Remove the cause, then start the run again" in words
    assert "Still to be listed: C." in words
    assert "Work waits in the queue listing" in words
    exit_code, told = reconciled(story, monkeypatch)
    assert exit_code == 1
    assert "Not complete; still to be listed: C; The archive B is not listed" in told


def test_a_run_that_ended_without_an_archive_has_failed_and_is_not_complete(
    said, story, run_without_an_archive, monkeypatch
):
    ledger.claim_listing(story.engine, run_without_an_archive, "lister", 600, 3)
    ledger.record_listing(story.engine, run_without_an_archive, "lister", [], {})
    story.publish(run_without_an_archive, 1)
    words = " ".join(said().split())
    assert "has failed: 1 products listed: 1 classified" in words
    assert f"Reason: {NO_INDEX}" in words
    exit_code, told = reconciled(story, monkeypatch)
    assert exit_code == 1
    assert "Not complete; The archive B is not listed: its index is gone" in told


@pytest.fixture
def waiting_run(story) -> int:
    """A run that waits for a host."""
    run_id = story.listed(count=1)
    story.meet(
        run_id,
        ObstacleKind.ARCHIVE_HOST,
        "https://example.org",
        "It was answered with 503.",
        Patience(60, 300),
    )
    return run_id


def test_what_a_run_waits_for_is_told_with_time_reason_next_try_and_what_to_do(
    said, story, waiting_run
):
    [found] = obstacles.current(story.engine)
    words = said()
    assert f"Run {waiting_run} waits for the archive host https://example.org" in words
    assert f"since {moment(found.since)} UTC" in words
    assert f"next try at {moment(found.next_try_at)} UTC" in words
    assert "Reason: It was answered with 503." in words
    assert f"`mernet run cancel {waiting_run}`" in words.replace("\n", " ")


def test_a_run_that_waits_says_so_in_words_and_in_json(said, waiting_run):
    assert f"Run {waiting_run} is waiting:" in said()
    assert json.loads(said("--json"))["run"]["condition"] == "waiting"


def test_a_database_that_cannot_be_written_is_told_with_what_waits_and_what_to_do(
    said, story, monkeypatch
):
    run_id = story.listed(count=1)
    reader = story.engine.execution_options(postgresql_readonly=True)
    monkeypatch.setattr("mernet.cli.service.status.ledger", lambda **_: reader)
    words = " ".join(said().split())
    assert f"Run {run_id} is waiting:" in words
    assert f"Run {run_id} waits for the database {story.engine.url.database} since" in words
    assert "Reason: The database can only be read" in words
    assert "Remove the cause that the reason names; work then continues without your help." in words
    answer = json.loads(said("--json"))
    assert answer["run"]["condition"] == "waiting"
    assert [each["kind"] for each in answer["obstacles"]] == ["database"]


def test_a_database_that_was_full_before_is_told_with_the_time_since_then(said, story, monkeypatch):
    run_id = story.listed(count=1)
    name = story.engine.url.database
    story.meet(run_id, ObstacleKind.DATABASE, name, "no room left")
    story.execute("UPDATE obstacle SET since = now() - interval '1 hour'")
    [noted] = obstacles.current(story.engine)
    reader = story.engine.execution_options(postgresql_readonly=True)
    monkeypatch.setattr("mernet.cli.service.status.ledger", lambda **_: reader)
    [found] = json.loads(said("--json"))["obstacles"]
    assert found["since"] == noted.since.isoformat()


def test_a_wait_is_told_while_the_broker_does_not_answer(said, waiting_run, monkeypatch):
    def away() -> BrokerState:
        raise BrokerError("The broker does not answer.")

    monkeypatch.setattr("mernet.cli.service.status.broker_state", away)
    assert "waits for the archive host" in said()


def test_obstacles_and_transfers_are_in_the_json(said, story, waiting_run):
    ledger.add_transfers(story.engine, waiting_run, 1, "worker", 1000, 2)
    ledger.add_transfers(story.engine, waiting_run, None, "lister", 500, 1)
    answer = json.loads(said("--json"))
    assert (answer["fetched_bytes"], answer["retries"]) == (1500, 3)
    [found] = answer["obstacles"]
    assert (found["kind"], found["subject"]) == ("archive host", "https://example.org")
    assert found["run_ids"] == [waiting_run]


def test_a_check_for_new_products_that_waits_is_told_too(said, story, failed_run):
    obstacles.report(
        story.engine, ObstacleKind.ARCHIVE_HOST, "https://a", "refused", Patience(60, 300)
    )
    assert "https://a" not in said(), "a person's command does not wait"
    obstacles.let_ingest_wait(story.engine, [(ObstacleKind.ARCHIVE_HOST, "https://a")])
    assert "The check for new products waits for the archive host https://a" in said()
