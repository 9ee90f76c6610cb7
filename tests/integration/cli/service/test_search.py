"""`mernet search`: the columns of its formats, and one format at a time."""

import csv
import json
from io import StringIO

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from mernet.cli.commands import app
from mernet.model.classes import CODES

SHOWN = ("sky", "soi")


@pytest.fixture
def search(story, monkeypatch):
    """Run `mernet search` where one image shows the sky and soil; return what it prints."""
    story.publish(story.listed(count=1), 1, tuple(0.95 if each in SHOWN else 0.1 for each in CODES))
    monkeypatch.setattr("mernet.cli.service.search.ledger", lambda: story.engine)

    def run(*words: str):
        return CliRunner().invoke(app, ["search", *words])

    return run


def test_csv_and_json_have_the_column_names_of_the_view_atlas_search(search, story):
    with story.engine.connect() as connection:
        view = {each["name"] for each in sa.inspect(connection).get_columns("atlas_search")}
    (hit,) = json.loads(search("sky", "soi", "--json").stdout)
    assert set(hit) - view == {"sky", "soi"}
    assert {"product_id", "start_time", "local_solar_time", "image_url", "browse_url"} <= set(hit)
    (row,) = csv.DictReader(StringIO(search("sky", "soi", "--csv").stdout))
    assert list(row) == list(hit)
    assert set(json.loads(search("--json").stdout)[0]) - view == {"images"}


def test_a_csv_without_rows_has_the_column_names_too(search):
    assert search("rtr", "--csv").stdout.startswith("product_id,rtr,rover,sol")


@pytest.mark.parametrize("words", [("sky",), ()])
def test_two_formats_at_once_are_refused_in_one_sentence(search, words):
    ran = search(*words, "--csv", "--json")
    assert ran.exit_code == 2
    assert "--csv and --json exclude each other" in " ".join(ran.stderr.split())
    assert ran.stdout == ""
