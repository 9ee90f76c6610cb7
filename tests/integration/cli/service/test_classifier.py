"""`mernet classifier`: compare, promote, roll back, thresholds and pruning as an operator does."""

import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from mernet.cli.commands import app
from mernet.db import classifiers
from mernet.db.classifiers import NewClassifier
from mernet.model.errors import ScoresError

FIRST = (0.95, 0.6, *[0.1] * 23)
SECOND = (0.1, 0.95, *[0.1] * 23)


@pytest.fixture
def mernet(story, product, monkeypatch):
    """`mernet classifier` on a ledger in which 'first' is current; 'second' has scored the same."""
    products = [product(1), product(2)]
    story.classified(products, FIRST)
    classifiers.add(story.engine, NewClassifier("b" * 64, "second", "/models/second", 0.9, {}))
    classifiers.promote(story.engine, "second")
    story.classified(products, SECOND)
    classifiers.rollback(story.engine)
    monkeypatch.setattr("mernet.cli.service.classifier.ledger", lambda: story.engine)

    def run(*words, answer=None):
        ran = CliRunner().invoke(app, ["classifier", *words], input=answer)
        if ran.exception is not None and not isinstance(ran.exception, SystemExit):
            raise ran.exception
        return ran

    return run


def test_a_comparison_is_made_before_promotion(mernet, product):
    found = json.loads(mernet("diff", "first", "second", "--json").stdout)
    assert (found["before"], found["after"], found["both"]) == ("first", "second", 2)
    assert found["classes"][0]["lost"] == found["classes"][1]["gained"] == 2
    assert found["images"][0] == {
        "product_id": product(1).product_id,
        "gained": ["pct"],
        "lost": ["rod"],
    }


def test_the_comparison_as_a_table_gives_rates_and_names_the_limited_images(mernet, product):
    ran = mernet("diff", "first", "second", "--class", "rod", "--limit", "1")
    assert ran.stdout.split("\n")[1].split() == [
        "rod",
        "Rover",
        "deck",
        "2",
        "1.000",
        "0",
        "0.000",
        "0",
        "2",
    ]
    assert product(1).product_id in ran.stdout
    assert product(2).product_id not in ran.stdout
    assert "2 images were scored by both" in ran.stderr


def test_promotion_is_undone_with_one_command(mernet, story):
    mernet("promote", "second")
    assert classifiers.current(story.engine).name == "second"
    assert "first is current again" in mernet("rollback").stderr
    assert classifiers.current(story.engine).name == "first"


def test_promoting_one_that_has_not_scored_every_image_says_how_many_searches_lack(mernet, story):
    assert "searches lack them" not in mernet("promote", "second").stderr
    story.execute("DELETE FROM outcome WHERE classifier = repeat('a', 64)")
    assert "has not scored 2 images" in mernet("promote", "first").stderr


def test_a_changed_threshold_is_told_and_listed(mernet):
    ran = mernet("threshold", "pct", "0.5")
    assert "pct above 0.5 (before: 0.9): 2 images added, 0 withdrawn" in ran.stderr
    listed = json.loads(mernet("list", "--json").stdout)
    assert [each["class_thresholds"] for each in listed] == [{"pct": 0.5}, {}]
    assert "pct 0.5" in mernet("list").stdout


def test_pruning_asks_first_and_no_is_no(mernet, story):
    ran = mernet("prune", "second", answer="n\n")
    assert "2 outcomes and 2 published classes of second" in ran.stderr
    assert ran.exit_code == 1
    assert story.rows("SELECT count(*) FROM outcome") == [(4,)]


def test_pruning_with_yes_does_not_ask(mernet, story):
    ran = mernet("prune", "second", "--yes")
    assert ran.exit_code == 0
    assert "Deleted 2 outcomes and 2 published classes of second" in ran.stderr
    assert story.rows("SELECT DISTINCT classifier FROM outcome") == [("a" * 64,)]


def test_pruning_may_keep_the_scores_and_the_list_says_so(mernet, story):
    mernet("prune", "second", "--keep-scores", "--yes")
    assert story.rows("SELECT count(*) FROM outcome") == [(4,)]
    listed = json.loads(mernet("list", "--json").stdout)
    assert [each["published"] for each in listed] == [True, False]
    assert "pruned" in mernet("list").stdout


@pytest.fixture
def checkpoint(monkeypatch, tmp_path):
    """A path that stands for the checkpoint of 'second', and whose scores are probabilities."""

    class Header:
        name, threshold = "second", 0.9

        def model_dump(self, mode):
            return {}

    room = "mernet.cli.service.classifier"
    monkeypatch.setattr(f"{room}.read_header", lambda _: Header())
    monkeypatch.setattr(f"{room}.check_publishable", lambda *_: None)
    monkeypatch.setattr(f"{room}.store_checkpoint", lambda path, _: (path, "b" * 64))
    loaded = SimpleNamespace(check_scores=lambda: None)
    monkeypatch.setattr(f"{room}.load_checkpoint", lambda *_: loaded)
    return SimpleNamespace(path=tmp_path / "a.safetensors", loaded=loaded)


def test_a_registered_checkpoint_keeps_its_name_and_another_is_told_to_be_unused(
    mernet, story, checkpoint
):
    said = mernet("add", str(checkpoint.path), "--name", "third").stderr
    assert "registered already, as second; a classifier keeps its name, so third is not" in said
    assert [each.name for each in classifiers.list_all(story.engine)] == ["first", "second"]


def test_a_checkpoint_whose_scores_are_no_probabilities_is_not_stored(
    mernet, checkpoint, monkeypatch
):
    def refuse():
        raise ScoresError("no probabilities")

    stored = []
    monkeypatch.setattr("mernet.cli.service.classifier.store_checkpoint", stored.append)
    checkpoint.loaded.check_scores = refuse
    with pytest.raises(ScoresError):
        mernet("add", str(checkpoint.path))
    assert stored == []
