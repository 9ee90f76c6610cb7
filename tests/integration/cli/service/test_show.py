"""`mernet show` and `mernet search --own`: own images, earlier outcomes, missing pixels."""

import json

import pytest
import typer
from typer.testing import CliRunner

from mernet.cli.service import search as module
from mernet.db import ledger
from mernet.db.publish import Classified, Failed

SCORES, OTHER_SCORES = (0.95, *[0.1] * 24), (0.2, 0.97, *[0.1] * 23)


@pytest.fixture
def say(story, monkeypatch):
    """Run `search` or `show`; return what is printed, and check the exit code."""
    monkeypatch.setattr(module, "ledger", lambda: story.engine)
    app = typer.Typer()
    app.command()(module.search)
    app.command()(module.show)

    def run(*words: str, exit_code: int = 0) -> str:
        ran = CliRunner().invoke(app, words)
        assert ran.exit_code == exit_code, ran.output
        return ran.stdout

    return run


@pytest.fixture
def own(story, product):
    """An image of a folder, classified."""
    image = product(1, collection="own", source="file:///mine/")
    story.classified([image], SCORES)
    return image


def test_images_of_folders_are_found_with_own_and_not_without(say, own):
    assert json.loads(say("search", "rod", "--json")) == []
    (hit,) = json.loads(say("search", "rod", "--own", "--json"))
    assert hit["product_id"] == own.product_id
    counts = json.loads(say("search", "--own", "--json"))
    assert [each["class"] for each in counts if each["images"]] == ["rod"]


def publish(story, outcome, reclassify=True):
    run_id = story.listed(count=1, reclassify=reclassify)
    story.claim(run_id, 1)
    assert story.settle(run_id, 1, [outcome])


def test_an_image_that_was_received_in_part_is_marked(story, say, product):
    name = product(1).product_id
    publish(story, Classified(name, SCORES, missing_share=0.5))
    assert json.loads(say("search", "rod", "--json"))[0]["missing_share"] == 0.5
    header, row = say("search", "rod", "--csv").splitlines()
    assert dict(zip(header.split(","), row.split(","), strict=True))["missing_share"] == "0.5"
    assert json.loads(say("show", name, "--json"))["missing_share"] == 0.5


def test_earlier_outcomes_are_shown_with_when_and_why(story, say, product):
    name = product(1).product_id
    publish(story, Classified(name, OTHER_SCORES))
    publish(story, Classified(name, SCORES))
    printed = say("show", name)
    assert "classified again" in printed
    assert "pct 0.97" in printed
    (earlier,) = json.loads(say("show", name, "--json"))["earlier"]
    assert (earlier["run_id"], earlier["replaced_by"]) == (1, 2)
    assert earlier["probabilities"]["pct"] == pytest.approx(0.97)


def test_the_earlier_scores_of_a_product_that_is_lost_for_good_are_shown(story, say, product):
    name = product(1).product_id
    publish(story, Classified(name, SCORES))
    publish(story, Failed(name, "not found", "It is gone.", is_lasting=True))
    assert "failed: not found" in say("show", name, exit_code=1)


def test_the_other_products_of_an_exposure_are_named(story, say, product):
    name = product(1).product_id
    derived = f"{name[:11]}RAD{name[14:]}"
    story.classified([product(1), product(1, product_id=derived)], SCORES)
    (hit,) = json.loads(say("search", "rod", "--json"))
    assert hit["product_id"] == name
    assert derived in say("show", name)
    others = json.loads(say("show", derived, "--json"))["same_exposure"]
    assert others == [{"product_id": name, "collection": "archive", "state": "classified"}]


def test_a_product_without_a_past_is_shown_as_its_25_probabilities(story, say, product):
    publish(story, Classified(product(1).product_id, SCORES))
    assert len(json.loads(say("show", product(1).product_id, "--json"))) == 25
    assert ledger.reconcile(story.engine).ok


def test_where_an_image_is_and_was_is_shown_with_when_and_why(story, say, product):
    old = product(1, source="https://old.example/", image_url="https://old.example/1.img")
    story.classified([old], SCORES)
    story.move_archive("https://old.example/", "https://new.example/")
    printed = say("show", old.product_id)
    assert "Image: https://new.example/1.img" in printed
    assert "moved to https://new.example/" in " ".join(printed.split())
    facts = json.loads(say("show", old.product_id, "--json"))
    (earlier,) = facts["earlier_places"]
    assert (earlier["image_url"], facts["image_url"]) == (
        old.image_url,
        "https://new.example/1.img",
    )
    (hit,) = json.loads(say("search", "rod", "--json"))
    assert hit["image_url"] == "https://new.example/1.img"
