"""`mernet run new`: what can be listed is taken up, and the exit code tells what could not."""

import json

import pytest
from typer.testing import CliRunner

from fixtures.index_volume import Volume, name
from mernet.cli.commands import app
from mernet.cli.shared.errors import with_advice
from mernet.db.errors import TooManyWithdrawn
from mernet.demo.server import serve
from mernet.worker.errors import ArchivesNotListed
from mernet.worker.settings import Settings


@pytest.fixture
def volume(tmp_path):
    volume = Volume(tmp_path / "volume")
    volume.lists(name(1), name(2))
    return volume


@pytest.fixture
def url(tmp_path, volume):
    with serve(tmp_path) as url:
        yield f"{url}volume/"


@pytest.fixture
def sent(monkeypatch):
    """The numbers of the runs whose chunks were sent."""
    sent = []
    monkeypatch.setattr("mernet.cli.service.run.send_chunks", lambda _, run_id: sent.append(run_id))
    return sent


@pytest.fixture
def run_new(story, monkeypatch, sent):
    """`mernet run new` on archives; gives what it came to."""
    monkeypatch.setattr("mernet.cli.service.run.ledger_and_broker", lambda: story.engine)

    def run_new(*archives, options=()):
        words = [word for archive in archives for word in ("--archive", archive)]
        return CliRunner().invoke(app, ["run", "new", *words, *options])

    return run_new


def test_a_run_is_sent_and_shown_although_another_archive_could_not_be_listed(run_new, url, sent):
    ran = run_new(f"{url}nowhere/", url, options=["--json"])
    assert json.loads(ran.stdout)["run"]["run_id"] == 1
    assert "Run 1 contains 2 new products" in ran.stderr
    assert sent == [1]
    assert isinstance(ran.exception, ArchivesNotListed)
    assert str(ran.exception).startswith("1 of 2 archives could not be listed: ")


def test_it_is_followed_to_its_end_too(run_new, story, url, monkeypatch):
    from mernet.db import ledger

    def follow_run(engine, run_id, *, may_start_worker):
        return ledger.progress(engine, ledger.cancel_run(engine, run_id).run_id)

    monkeypatch.setattr("mernet.cli.service.run.follow_run", follow_run)
    ran = run_new(f"{url}nowhere/", url, options=["--follow", "--json"])
    assert json.loads(ran.stdout)["run"]["state"] == "cancelled"
    assert isinstance(ran.exception, ArchivesNotListed)


def test_it_says_that_it_waits_for_a_connection_and_goes_on_when_one_is_free(
    run_new, story, url, sent, monkeypatch
):
    host = url.removesuffix("/volume/")
    story.execute(
        "INSERT INTO archive_connection (host, holder, connections, expires_at)"
        " VALUES (:host, 'another', 8, now() + interval '1 hour')",
        host=host,
    )
    told = []

    def tell(text):
        if "connections" in text:
            told.append(text)
            story.execute("DELETE FROM archive_connection WHERE holder = 'another'")

    monkeypatch.setattr("mernet.cli.service.run.note", tell)
    assert run_new(url).exit_code == 0
    [waits] = told
    assert waits.startswith(f"All connections to {host} are in use;")
    assert sent == [1]


def test_where_nothing_could_be_listed_no_run_is_shown(run_new, url, sent):
    ran = run_new(f"{url}nowhere/", options=["--json"])
    assert (ran.stdout, sent) == ("", [])
    assert isinstance(ran.exception, ArchivesNotListed)


def test_many_withdrawals_are_marked_when_told_so(run_new, volume, url):
    volume.lists(*map(name, range(150)))
    assert run_new(url).exit_code == 0
    volume.lists(name(1))
    assert isinstance(run_new(url).exception, TooManyWithdrawn)
    ran = run_new(url, options=["--withdraw-many", "--json"])
    assert (ran.exit_code, json.loads(ran.stdout)) == (0, {"run": None, "withdrawn": 149})


def test_what_is_checked_and_each_retry_are_told_while_it_happens(run_new, monkeypatch):
    config = Settings(fetch_attempts=2)
    monkeypatch.setattr("mernet.cli.service.run.settings", lambda: config)
    monkeypatch.setattr("mernet.pds.fetch.BACKOFF", lambda _: 0.0)
    refused = "http://127.0.0.1:1/volume/"
    said = run_new(refused).stderr
    assert said.startswith(f"Checking {refused} for new products ...\n")
    assert "connection refused; check that the server runs at this host and port. Next" in said
    assert "Max retries" not in said


def test_many_withdrawals_of_one_archive_are_told_with_what_to_do_and_the_others_are_ingested(
    run_new, volume, url, tmp_path, sent
):
    volume.lists(*map(name, range(150)))
    Volume(tmp_path / "other").lists(name(501))
    assert run_new(url).exit_code == 0
    volume.lists(name(1))
    ran = run_new(url, url.replace("volume", "other"))
    assert ran.exit_code == 1
    assert sent == [1, 2]
    assert "Run 2 contains 1 new products" in ran.stderr
    said = with_advice(ran.exception)
    assert "no longer lists 149 of its 150 known products" in said
    assert said.endswith("`mernet run new --withdraw-many` confirms it.")
