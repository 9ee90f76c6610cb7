"""Searching, and the rights of the Atlas."""

import pytest
import sqlalchemy as sa

from mernet.db import classifiers, search
from mernet.db.errors import (
    NotClassified,
    ProductFailed,
    QueryRefused,
    UnknownClassifier,
    UnknownProduct,
)
from mernet.db.publish import Failed
from mernet.db.search import Place, Query
from mernet.db.server_rights import READER_SETTINGS
from mernet.db.tables import METADATA
from mernet.pds.selection import IMAGES

CODES = (
    *("rod", "pct", "arh", "ohw", "rtr", "sot", "rab", "rah", "roc", "flr", "cla", "rmi", "bso"),
    *("dur", "rlf", "rrf", "soi", "ast", "sph", "div", "sky", "clr", "nbs", "rpa", "art"),
)


def scores(**changes):
    return [changes.get(code, 0.1) for code in CODES]


@pytest.fixture
def mars(story, product):
    """Six products of two rovers."""
    spirit = {"rover": "Spirit"}
    for facts, values in (
        (product(1), scores(sky=0.99, soi=0.95)),
        (product(2), scores(sky=0.97, soi=0.99)),
        (product(3, **spirit), scores(sky=0.97, dur=0.99)),
        (product(4, **spirit), scores(sky=0.95, soi=0.92, dur=0.91)),
        (product(5, sol=None), scores(sky=0.93)),
        (product(6), scores(soi=0.98, sky=0.9)),
    ):
        story.classified([facts], values)
    return story


def found(story, *classes, **options):
    """The clocks of the products found, in order."""
    page = search.search(story.engine, Query(classes, **options))
    return [int(hit.product_id[2:11]) for hit in page.hits]


def test_a_class_is_found_by_probability_then_name(mars):
    assert found(mars, "sky") == [1, 2, 3, 4, 5]


def test_several_classes_must_all_be_present_and_the_first_one_orders(mars):
    assert found(mars, "sky", "soi") == [1, 2, 4]
    assert found(mars, "soi", "sky") == [2, 1, 4]
    assert found(mars, "sky", "soi", "dur") == [4]


def test_products_with_an_unwanted_class_are_absent(mars):
    assert found(mars, "sky", without=("soi",)) == [3, 5]
    assert found(mars, "sky", without=("soi", "dur")) == [5]


@pytest.mark.parametrize("rover", ["Spirit", "spirit"])
def test_a_rover_can_be_chosen(mars, rover):
    assert found(mars, "sky", rover=rover) == [3, 4]


@pytest.mark.parametrize("rover", ["Foo", ""])
def test_an_unknown_rover_is_refused_and_the_known_ones_are_named(mars, rover):
    with pytest.raises(QueryRefused, match=f"rover '{rover}' .*: Opportunity, Spirit"):
        found(mars, "sky", rover=rover)


def test_a_known_rover_without_such_an_image_is_no_error(mars):
    assert found(mars, "art", rover="spirit") == []


def test_sols_are_inclusive_and_may_be_open(mars):
    assert found(mars, "sky", sols=(2, 3)) == [2, 3]
    assert found(mars, "sky", sols=(3, None)) == [3, 4]
    assert found(mars, "sky", sols=(None, 1)) == [1]


def test_a_minimum_probability_holds_for_every_class_asked_for(mars):
    assert found(mars, "sky", min_probability=0.97) == [1, 2, 3]
    assert found(mars, "sky", "soi", min_probability=0.95) == [1, 2]


def test_a_hit_has_the_probabilities_of_the_classes_asked_for(mars, product):
    hit = search.search(mars.engine, Query(("soi", "sky"), limit=1)).hits[0]
    assert hit.probabilities == {"soi": pytest.approx(0.99), "sky": pytest.approx(0.97)}
    asked = product(2)
    for fact in ("product_id", "rover", "sol", "site", "drive", "start_time", "image_url"):
        assert getattr(hit, fact) == getattr(asked, fact)


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
def test_paging_visits_every_hit_once_in_order(mars, limit):
    visited, after, pages = [], None, 0
    while pages == 0 or after is not None:
        page = search.search(mars.engine, Query(("sky",), limit=limit, after=after))
        visited += [int(hit.product_id[2:11]) for hit in page.hits]
        after, pages = page.next, pages + 1
    assert visited == [1, 2, 3, 4, 5]
    assert pages == -(-5 // limit)


def test_classes_may_be_given_by_name_in_any_case_and_twice(mars):
    assert found(mars, "Sky", "SOIL", "soi") == [1, 2, 4]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (Query(("skye",)), "No class is called 'skye'; did you mean 'sky'.*The codes: rod, pct"),
        (Query(("sky",), without=("zzzzzz",)), "'zzzzzz'. The codes: rod"),
        (Query(()), "at least one class"),
        (Query(("sky",), limit=0), "1 to 1000"),
        (Query(("sky",), limit=1001), "1 to 1000"),
        (Query(("sky",), min_probability=1.5), "between 0 and 1"),
        (Query(("sky",), min_probability=float("nan")), "between 0 and 1"),
        (Query(("sky",), after=Place(1e300, "")), "between 0 and 1"),
        (Query(("sky",), sols=(5, 4)), "earlier sol first"),
        (Query(("sky",), sols=(1, 99999999999)), "from 0 to 2147483647; 99999999999 is not"),
        (Query(("sky",), sols=(-1, None)), "from 0 to 2147483647; -1 is not"),
    ],
)
def test_an_impossible_query_is_refused_with_the_reason(story, query, message):
    with pytest.raises(QueryRefused, match=message):
        search.search(story.engine, query)


def test_searching_needs_a_current_classifier(engine):
    with pytest.raises(UnknownClassifier):
        search.search(engine, Query(("sky",)))


def test_another_classifiers_results_are_not_mixed_in(mars, product):
    classifiers.add(mars.engine, classifiers.NewClassifier("b" * 64, "second", "/b", 0.9, {}))
    classifiers.promote(mars.engine, "second")
    assert found(mars, "sky") == []
    mars.classified([product(2)], scores(sky=0.95))
    assert found(mars, "sky") == [2]
    assert found(mars, "sky", "soi") == []  # soil is the first classifier's opinion
    assert mars.rows("SELECT DISTINCT classifier FROM atlas_search") == [("second",)]


@pytest.mark.parametrize(("older", "newer"), [("1", "2"), ("9", "A")])
def test_a_superseded_version_leaves_the_search_once_a_newer_one_is_classified(
    story, product, older, newer
):
    story.classified([product(1, older)], scores(sky=0.95))
    assert found(story, "sky") == [1]
    run_id = story.listed_products([product(1, newer)])
    assert found(story, "sky") == [1]
    story.publish(run_id, 1, scores(sky=0.92))
    assert story.rows("SELECT product_id FROM atlas_search") == [(product(1, newer).product_id,)]


def variant(product, kind, **facts):
    """Product 1 as another type, such as EDN."""
    name = product(1).product_id
    return product(1, product_id=f"{name[:11]}{kind}{name[14:]}", **facts)


SMALL = {"lines": 512, "line_samples": 512}
PREFERENCES = {
    "the larger image": (("EFF", {}), ("EDN", SMALL)),
    "the larger one, even if derived": (("ILF", {}), ("EDN", SMALL)),
    "the raw one": (("EFF", {}), ("ILF", {})),
    "the first in the list of types": (("FFL", {}), ("RAD", {})),
    "a type of the list": (("IOL", {}), ("XYZ", {})),
}


@pytest.mark.parametrize("pair", PREFERENCES.values(), ids=PREFERENCES)
@pytest.mark.parametrize("first_classified", [0, 1])
def test_one_product_of_an_exposure_is_a_hit(story, product, pair, first_classified):
    products = [variant(product, kind, **facts) for kind, facts in pair]
    for each in (products[first_classified], products[1 - first_classified]):
        story.classified([each], scores(sky=0.95))
    page = search.search(story.engine, Query(("sky",)))
    assert [hit.product_id for hit in page.hits] == [products[0].product_id]
    assert story.rows("SELECT product_id FROM atlas_search") == [(products[0].product_id,)]


def test_every_image_type_has_a_place_in_the_order(story, product):
    preferences = {
        story.rows(
            "SELECT product_preference(:name, 'archive', false, 1024, 1024)",
            name=variant(product, kind).product_id,
        )[0][0]
        for kind in IMAGES
    }
    assert len(preferences) == len(IMAGES)
    assert not [each for each in preferences if each.endswith("99")]


def test_a_product_that_failed_leaves_its_exposure_to_another(story, product):
    story.classified([variant(product, "RAD")], scores(sky=0.95))
    run_id = story.listed_products([product(1)])
    story.claim(run_id, 1)
    story.settle(run_id, 1, [Failed(product(1).product_id, "forbidden", "No.")])
    assert story.rows("SELECT substr(product_id, 12, 3) FROM atlas_search") == [("RAD",)]


def test_other_filters_eyes_cameras_and_clocks_are_other_exposures(story, product):
    name = product(1).product_id
    others = [f"{name[:23]}R1{name[25:]}", f"1N{name[2:]}", f"2P{name[2:]}", name]
    story.classified([product(1, product_id=each) for each in others], scores(sky=0.95))
    assert len(story.rows("SELECT FROM atlas_search")) == 4


def test_class_counts_include_all_25_classes_in_chain_order(mars):
    counts = search.class_counts(mars.engine)
    assert tuple(count.code for count in counts) == CODES
    assert {count.code: count.images for count in counts if count.images} == {
        "sky": 5,
        "soi": 4,
        "dur": 2,
    }


def test_all_scores_of_a_product_are_returned_and_which_are_published(mars, product):
    told = search.scores_of(mars.engine, product(4).product_id.lower())
    assert tuple(score.code for score in told) == CODES
    assert [score.probability for score in told] == pytest.approx(
        scores(sky=0.95, soi=0.92, dur=0.91)
    )
    assert [score.code for score in told if score.published] == ["dur", "soi", "sky"]


def test_a_product_without_scores_says_why(story, product):
    run_id = story.listed_products([product(1), product(2)], chunk_size=1)
    name = product(1).product_id
    with pytest.raises(NotClassified, match="not classified yet"):
        search.scores_of(story.engine, name)
    story.claim(run_id, 1)
    story.settle(run_id, 1, [Failed(name, "not found", "It is gone.")])
    with pytest.raises(ProductFailed, match=r"failed \(not found: It is gone.\)"):
        search.scores_of(story.engine, name)
    with pytest.raises(UnknownProduct, match="was ever listed"):
        search.scores_of(story.engine, product(3).product_id)


def test_the_view_gives_the_columns_the_atlas_reads(mars):
    with mars.engine.connect() as connection:
        columns = connection.exec_driver_sql("SELECT * FROM atlas_search").keys()
    assert ", ".join(columns) == (
        "product_id, class, class_name, confidence, rover, sol, site, drive, start_time,"
        " local_solar_time, image_url, browse_url, classifier, missing_share"
    )


def insufficient_privilege(connection, statement):
    """Return whether the server refuses a statement because a right is missing."""
    with pytest.raises(sa.exc.ProgrammingError) as caught:
        connection.exec_driver_sql(statement)
    connection.rollback()
    return caught.value.orig.pgcode == "42501"


def test_the_atlas_role_reads_the_view_and_nothing_else(mars):
    tables = mars.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    atlas = sa.create_engine(mars.engine.url.update_query_dict({"options": "-c role=mernet_atlas"}))
    with atlas.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM atlas_search").scalar() == 11
        for (table,) in tables:
            assert insufficient_privilege(connection, f"SELECT 1 FROM {table}")
        assert insufficient_privilege(connection, "DELETE FROM classification")
        assert insufficient_privilege(connection, "CREATE TABLE mine ()")
    atlas.dispose()
    assert len(tables) == len(METADATA.tables) + 1  # and alembic_version


MANY_PRODUCTS = """
INSERT INTO product (product_id, rover, sequence, lines, line_samples, image_url)
SELECT format('2P%s0000EFF0000P2600L2M1', n), 'Spirit', 'P2600', 1024, 1024, 'file:///x.img'
FROM generate_series(10001, 15000) AS n
"""
MANY_OUTCOMES = """
INSERT INTO outcome (product_id, classifier, run_id, state, scores, attempts)
SELECT product_id, sha256, 1, 'classified', array_fill(CAST(0.95 AS real), ARRAY[25]), 1
FROM product CROSS JOIN classifier WHERE rover = 'Spirit' AND sol IS NULL
"""
MANY_CLASSIFICATIONS = """
INSERT INTO classification (product_id, classifier, class, probability)
SELECT product_id, classifier, code, 0.95
FROM outcome CROSS JOIN image_class WHERE product_id LIKE '2P%' AND position > 20
"""


@pytest.mark.parametrize(
    ("view", "settings"),
    [("shown_classification", {}), ("atlas_search", READER_SETTINGS)],
    ids=["service", "reader"],
)
def test_a_class_is_read_in_the_order_of_its_index_without_sorting_all(mars, view, settings):
    for statement in (MANY_PRODUCTS, MANY_OUTCOMES, MANY_CLASSIFICATIONS, "ANALYZE"):
        mars.execute(statement)
    explain = (
        f"EXPLAIN SELECT * FROM {view} WHERE class = 'sky'"
        " ORDER BY confidence DESC, product_id LIMIT 50"
    )
    with mars.engine.begin() as connection:
        for name, value in settings.items():
            connection.exec_driver_sql(f"SET LOCAL {name} = '{value}'")
        plan = str(connection.exec_driver_sql(explain).all())
    assert "using classification_search" in plan
    assert "product_exposure" in plan
    assert "Sort" not in plan
    assert "Seq Scan on product" not in plan
    assert "Seq Scan on outcome" not in plan
