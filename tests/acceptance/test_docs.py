"""docs/python.md: its examples run in their order and print what the page shows."""

import doctest
import re
import shutil
from pathlib import Path

import pytest

import mernet
from fixtures.products import write_known_checkpoint, write_pds3_product, write_pds4_product
from mernet.model.classes import CODES
from mernet.worker.settings import settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"
EXAMPLES = re.findall(r"^```pycon\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def scores(**probabilities):
    return tuple(probabilities.get(code, 0.1) for code in CODES)


@pytest.fixture
def published(story, product):
    """URL of a database with the images that the page finds."""

    def of_spirit(clock):
        name = f"2P{product(clock).product_id[2:]}"
        return product(clock, product_id=name, rover="Spirit")

    for facts, values in (
        (of_spirit(101), scores(rtr=0.98, soi=0.93)),
        (of_spirit(102), scores(rtr=0.94, soi=0.97)),
        (of_spirit(103), scores(rtr=0.99, sky=0.95)),
        (product(7), scores(rtr=0.96, soi=0.95)),
    ):
        story.classified([facts], values)
    return story.engine.url.render_as_string(hide_password=False)


@pytest.fixture
def notebook_folder(tmp_path, monkeypatch):
    """The working folder with the files that the page names."""
    write_known_checkpoint(tmp_path / "mernet.safetensors", monkeypatch)
    product = write_pds3_product(tmp_path)
    (tmp_path / "products").mkdir()
    shutil.copy(product, tmp_path / "products")
    write_pds4_product(tmp_path / "products")
    monkeypatch.chdir(tmp_path)


def test_the_examples_of_the_python_page_print_what_it_shows(
    notebook_folder, published, monkeypatch
):
    monkeypatch.setenv("MERNET_DATABASE_URL", published)
    monkeypatch.setenv("MERNET_DEVICE", "cpu")
    settings.cache_clear()
    test = doctest.DocTestParser().get_doctest("\n".join(EXAMPLES), {}, PAGE.name, str(PAGE), 0)
    report = []
    result = doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    settings.cache_clear()
    assert result.attempted > 20
    assert result.failed == 0, "".join(report)


def test_the_python_page_names_every_public_function():
    functions = [name for name in mernet.__all__ if callable(getattr(mernet, name))]
    unnamed = [name for name in functions if name.islower() and name not in PAGE.read_text()]
    assert unnamed == []
