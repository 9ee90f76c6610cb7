"""The pages: examples run and print what is shown; files, names and links exist."""

import doctest
import re
import shutil
import tomllib
from pathlib import Path

import pytest
import yaml

import mernet
from fixtures.products import write_known_checkpoint, write_pds3_product, write_pds4_product
from mernet.model.classes import CODES
from mernet.worker.settings import settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
FOLDERS = "pds|model|db|worker|cli|demo|mernet|ops|bench|tests|docs"
PAGE = ROOT / "docs" / "python.md"
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_named_and_every_link_target_exists(page):
    text = page.read_text()
    named = re.findall(rf"`((?:{FOLDERS})/[\w./-]*)`", text)
    linked = re.findall(r"\]\(([^)#:]+)\)", text)
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert [target for target in linked if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_public_python_name_in_an_example_exists(page):
    blocks = re.findall(r"^```py\w+\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    used = re.findall(r"\bmernet\.([a-zA-Z]\w*)\(", "\n".join(blocks))
    assert set(used) <= set(mernet.__all__)


def test_the_glossary_is_in_alphabetical_order_and_explains_each_word_once():
    text = (ROOT / "docs" / "glossary.md").read_text()
    words = [word.lower() for word in re.findall(r"^\*\*(.+?)\.\*\*", text, re.MULTILINE)]
    assert words == sorted(set(words))


def test_the_citation_names_the_version_and_the_licence_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["version"] == package["version"]
    assert citation["license"] == package["license"]
