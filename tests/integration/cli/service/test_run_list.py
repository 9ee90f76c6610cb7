"""`mernet run list`: every run in a row that a terminal of 80 characters shows whole."""

from io import StringIO

import pytest
from rich.console import Console
from typer.testing import CliRunner

from mernet.cli.commands import app
from mernet.cli.shared import output
from mernet.db import ledger


@pytest.fixture
def lines(story, monkeypatch):
    """What `mernet run list` prints on a terminal of 80 characters."""
    monkeypatch.setattr("mernet.cli.service.run.ledger", lambda: story.engine)

    def run() -> list[str]:
        file = StringIO()
        console = Console(file=file, width=80, force_terminal=True, color_system=None)
        monkeypatch.setattr(output, "out", console)
        assert CliRunner().invoke(app, ["run", "list"]).exit_code == 0
        return file.getvalue().splitlines()

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
