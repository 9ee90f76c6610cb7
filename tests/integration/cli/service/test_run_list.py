"""`mernet run list`: every run in a row that a terminal of 80 characters shows whole."""

import json
from io import StringIO

import pytest
from rich.console import Console
from typer.testing import CliRunner

from mernet.cli.commands import app
from mernet.cli.shared import output
from mernet.db import ledger
from mernet.db.obstacles import ObstacleKind, Patience


@pytest.fixture
def lines(story, monkeypatch):
    """What `mernet run list` prints on a terminal of 80 characters."""
    monkeypatch.setattr("mernet.cli.service.run.ledger", lambda: story.engine)

    def run(of_stderr: bool = False) -> list[str]:
        file = StringIO()
        console = Console(file=file, width=80, force_terminal=True, color_system=None)
        monkeypatch.setattr(output, "out", console)
        ran = CliRunner().invoke(app, ["run", "list"])
        assert ran.exit_code == 0
        return ran.stderr.splitlines() if of_stderr else file.getvalue().splitlines()

    return run


def test_a_run_fits_in_80_characters_and_its_archives_are_below(lines, story):
    story.publish(story.listed(count=2), 1)
    cancelled = story.listed(count=3)
    ledger.cancel_run(story.engine, cancelled)
    headers, newest, archives, *_ = lines()
    assert headers.split()[:8] == [
        "run", "kind", "state", "listed", "classified", "failed", "kept", "waiting",
    ]  # fmt: skip
    assert newest.split()[:8] == [str(cancelled), "full", "cancelled", "3", "0", "0", "2", "1"]
    assert archives.split() == ["archives:", "sample"]
    assert all(len(line) <= 80 for line in lines())


def test_an_archive_that_could_not_be_listed_is_named(lines, story, product):
    run_id = ledger.create_run(story.engine, ledger.NewRun(archives=("A", "B"))).run_id
    ledger.claim_listing(story.engine, run_id, "lister", 600, 3)
    bad = ledger.NotListed(error="The archive B is not listed: its index is gone.")
    ledger.record_listing(story.engine, run_id, "lister", [product(1)], {}, bad)
    named = "Run 1: The archive B is not listed: its index is gone."
    assert named in " ".join(lines(of_stderr=True))
    story.publish(run_id, 1)
    assert named in " ".join(lines(of_stderr=True))


def test_a_run_that_waits_is_listed_as_waiting_and_what_it_waits_for_is_below(lines, story):
    run_id = story.listed(count=1)
    story.meet(run_id, ObstacleKind.MACHINE, "host", "its disk is full", Patience(60, 300))
    words = " ".join(" ".join(lines()).split())
    assert f"{run_id} full waiting" in words
    assert f"Run {run_id} waits for the machine host since" in words
    assert "Reason: its disk is full" in words
    ran = CliRunner().invoke(app, ["run", "list", "--json"])
    [found] = json.loads(ran.stdout)
    assert found["run"]["condition"] == "waiting"
    assert [each["subject"] for each in found["obstacles"]] == ["host"]
