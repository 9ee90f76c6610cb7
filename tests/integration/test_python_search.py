"""`mernet.search`: the published table as records."""

import pytest

import mernet
from mernet.db.errors import ConnectionFailed, QueryRefused, SchemaError
from mernet.model.classes import CODES
from mernet.worker.settings import settings


def scores(**probabilities):
    return tuple(probabilities.get(code, 0.1) for code in CODES)


@pytest.fixture(autouse=True)
def fresh_settings(monkeypatch, tmp_path):
    monkeypatch.delenv("MERNET_DATABASE_URL", raising=False)
    monkeypatch.setenv("MERNET_DATA_DIR", str(tmp_path))
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def url(story, product):
    """A database with three published images."""
    spirit = {"rover": "Spirit"}
    for facts, values in (
        (product(1), scores(sky=0.99, soi=0.95)),
        (product(2, **spirit), scores(sky=0.97)),
        (product(3, sol=None), scores(soi=0.98, rtr=0.92, sky=0.95)),
    ):
        story.classified([facts], values)
    return story.engine.url.render_as_string(hide_password=False)


def found(*classes, **options):
    return [(int(r["product_id"][2:11]), r["class"]) for r in mernet.search(*classes, **options)]


def test_a_record_is_a_row_of_the_view(url, story):
    records = mernet.search("sky", database_url=url)
    with story.engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT * FROM atlas_search WHERE class = 'sky' ORDER BY confidence DESC"
        ).mappings()
        assert records == [dict(row) for row in rows]
    assert list(records[0]) == list(mernet.SearchRecord.__annotations__)


def test_images_show_all_classes_and_have_a_record_for_each(url):
    assert found("sky", "Soil", database_url=url) == [
        *[(1, "soi"), (1, "sky")],
        *[(3, "soi"), (3, "sky")],
    ]


def test_options_narrow_a_search(url):
    assert found("sky", without="soi", database_url=url) == [(2, "sky")]
    assert found("sky", without=["soi", "rtr"], database_url=url) == [(2, "sky")]
    assert found("sky", rover="Spirit", database_url=url) == [(2, "sky")]
    assert found("sky", sols=(1, 1), database_url=url) == [(1, "sky")]
    assert found("sky", min_probability=0.98, database_url=url) == [(1, "sky")]
    assert found("sky", limit=2, database_url=url) == [(1, "sky"), (2, "sky")]


def test_all_images_come_however_many_pages_it_takes(url, monkeypatch):
    monkeypatch.setattr("mernet.db.search.LARGEST_PAGE", 1)
    assert found("sky", database_url=url) == [(1, "sky"), (2, "sky"), (3, "sky")]
    assert found("sky", limit=2, database_url=url) == [(1, "sky"), (2, "sky")]


def test_the_url_may_come_from_the_environment(url, monkeypatch):
    monkeypatch.setenv("MERNET_DATABASE_URL", url)
    settings.cache_clear()
    assert len(mernet.search("sky")) == 3


def test_an_embedded_server_that_does_not_run_is_not_started(tmp_path):
    with pytest.raises(ConnectionFailed, match="mernet services start"):
        mernet.search("sky")
    assert list(tmp_path.iterdir()) == []


def test_tables_are_not_created(empty_engine):
    url = empty_engine.url.render_as_string(hide_password=False)
    with pytest.raises(SchemaError, match="mernet db upgrade"):
        mernet.search("sky", database_url=url)
    with empty_engine.connect() as connection:
        tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        assert connection.exec_driver_sql(tables).scalar_one() == 0


@pytest.mark.parametrize("options", [{"limit": 0}, {"rover": "Curiosity"}, {"sols": (9, 1)}])
def test_what_cannot_be_searched_is_refused(url, options):
    with pytest.raises(QueryRefused):
        mernet.search("sky", database_url=url, **options)


def test_an_unknown_class_is_refused(url):
    with pytest.raises(mernet.MernetError, match="No class is called 'skies'"):
        mernet.search("skies", database_url=url)


def test_a_data_frame_has_the_columns_and_types_of_the_table(url):
    table = mernet.to_dataframe(mernet.search("sky", database_url=url))
    assert list(table["product_id"].str[2:11].astype(int)) == [1, 2, 3]
    assert table["sol"].isna().tolist() == [False, False, True]
    assert str(table.dtypes["sol"]) == "Int64"
    assert str(table.dtypes["start_time"]).endswith("UTC]")
