"""`mernet archive moved`: products keep their results at a new address."""

import pytest
import typer
from typer.testing import CliRunner

from fixtures.index_volume import Volume, name
from mernet.cli.service import archive as module
from mernet.db import ledger, obstacles
from mernet.db.errors import UnknownArchive
from mernet.db.ledger import NewRun
from mernet.db.obstacles import ObstacleKind, Patience
from mernet.demo.server import serve
from mernet.pds.errors import BadArchiveError
from mernet.pds.fetch import Fetcher
from mernet.worker.listing import record_products
from mernet.worker.settings import Settings

SCORES = (0.95, *[0.1] * 24)


@pytest.fixture
def moved(story, monkeypatch):
    """Run the command; raise its error."""
    monkeypatch.setattr(module, "ledger", lambda: story.engine)
    app = typer.Typer()
    app.command()(module.moved)

    def run(old, new):
        ran = CliRunner().invoke(app, [old, new])
        if ran.exception and not isinstance(ran.exception, SystemExit):
            raise ran.exception
        assert ran.exit_code == 0
        return ran.output

    return run


def shown(story):
    return [row[0] for row in story.rows("SELECT image_url FROM atlas_search")]


def test_results_are_shown_at_the_new_address_and_back(story, moved, product):
    old = product(1, source="https://old.example/v/", image_url="https://old.example/v/1.img")
    story.classified([old], SCORES)
    assert "have moved to https://new.example/x/ now: 1." in moved(
        "https://old.example/v", "https://new.example/x"
    )
    assert shown(story) == ["https://new.example/x/1.img"]
    moved("https://new.example/x/", "https://old.example/v/")
    assert shown(story) == [old.image_url]


def test_an_archive_whose_name_only_begins_alike_has_not_moved(story, moved, product):
    old = product(1, source="https://old.example/v2/", image_url="https://old.example/v2/1.img")
    story.classified([old], SCORES)
    with pytest.raises(UnknownArchive, match=r"https://old\.example/v2/"):
        moved("https://old.example/v", "https://new.example/")
    assert shown(story) == [old.image_url]


def test_a_folder_is_given_by_its_path_though_it_is_gone(story, moved, product, tmp_path):
    old, new = (tmp_path / name for name in ("my images", "b"))
    new.mkdir()
    image = product(
        1, source=f"{old.as_uri()}/", image_url=f"{old.as_uri()}/1.img", collection="own"
    )
    story.classified([image], SCORES)
    moved(str(old), f"{new}/")
    assert story.rows("SELECT source, image_url FROM product") == [
        (f"{new.as_uri()}/", f"{new.as_uri()}/1.img")
    ]


@pytest.mark.parametrize("mistyped", ["new.example/v", "file:///nowhere/v/", "/nowhere/v"])
def test_a_new_place_that_is_not_there_is_refused_and_no_address_changes(
    story, moved, product, mistyped
):
    old = product(1, source="https://old.example/v/", image_url="https://old.example/v/1.img")
    story.classified([old], SCORES)
    with pytest.raises(BadArchiveError, match="neither a URL nor an existing folder"):
        moved("https://old.example/v/", mistyped)
    assert shown(story) == [old.image_url]


def test_nothing_waits_for_the_old_host_any_more(story, moved, product):
    old = product(1, source="https://old.example/", image_url="https://old.example/1.img")
    story.classified([old], SCORES)
    kind = ObstacleKind.ARCHIVE_HOST
    obstacles.report(story.engine, kind, "https://old.example", "It is down.", Patience(30, 300))
    moved("https://old.example/", "https://new.example/")
    assert obstacles.current(story.engine) == []


def test_a_run_that_waits_to_be_listed_is_listed_at_the_new_address(story, moved, tmp_path):
    volume = Volume(tmp_path / "volume")
    volume.lists(name(1))
    old = "http://127.0.0.1:9/"  # nobody answers there
    run_id = ledger.create_run(story.engine, NewRun(archives=(f"{old}volume/",))).run_id
    with serve(tmp_path) as new, Fetcher(attempts=1) as fetcher:
        record_products(story.engine, run_id, "first", fetcher, 600)
        assert ledger.get_run(story.engine, run_id).waits
        assert f"Open runs that read it there: {run_id}." in moved(old, new)
        record_products(story.engine, run_id, "second", fetcher, 600)
    assert obstacles.current(story.engine) == []
    assert story.publish(run_id, 1)
    assert ledger.get_run(story.engine, run_id).state == "finished"
    assert shown(story)[0].startswith(f"{new}volume/")


def test_how_many_products_were_at_the_new_address_before_is_printed(story, moved, product):
    story.listed_products(
        [product(clock, source=f"https://{host}.example/") for clock, host in enumerate("abb")]
    )
    told = moved("https://a.example/", "https://b.example/")
    assert "have moved to https://b.example/ now: 1. 2 were there before." in told


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("MERNET_INGEST_ARCHIVES", {"ingest_archives": ("https://old.example/v/", "spirit")}),
        ("MERNET_INGEST_MIRROR", {"ingest_mirror": "https://old.example/v"}),
    ],
)
def test_a_setting_that_holds_the_old_address_is_named(
    story, moved, product, monkeypatch, setting, values
):
    story.listed_products([product(1, source="https://old.example/v/")])
    monkeypatch.setattr(module, "settings", lambda: Settings(ingest_seconds=60, **values))
    told = moved("https://old.example/", "https://new.example/").replace("\n", " ")
    assert f"{setting} still holds 'https://old.example/v" in told
    assert "replace it with 'https://new.example/v" in told


@pytest.mark.parametrize("address", ["ftp://old.example/", "~nosuchuser/a", "a\0b"])
def test_what_is_no_address_is_refused(moved, address):
    with pytest.raises(BadArchiveError):
        moved(address, "https://new.example/")
