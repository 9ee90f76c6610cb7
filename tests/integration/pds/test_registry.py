"""Listing by a registry search that answers as documented: every product of every page."""

from datetime import UTC, datetime

import pytest

from fixtures.registry import Registered, calibrated
from mernet.pds.archive import resolve
from mernet.pds.errors import NotFoundError
from mernet.pds.fetch import Fetcher
from mernet.pds.listing import list_products
from mernet.pds.registry import HarvestCursor
from mernet.pds.selection import Selection

TUESDAY, WEDNESDAY = "2026-11-17T05:53:24.611495Z", "2026-11-18T05:53:24.611495Z"
LATE_TUESDAY = "2026-11-17T05:53:24.611999Z"  # within the same millisecond


@pytest.fixture
def listed(registry):
    """The products that are listed, and (name, reason) of those left out."""

    def listed(since=None):
        left_out, rows = [], []
        harvest = HarvestCursor(since)
        with Fetcher(attempts=1) as fetcher:
            archives = [resolve(registry.url)]
            found = list(
                list_products(
                    archives, Selection("rdr"), fetcher, left_out.append, rows.append, harvest
                )
            )
        assert rows == list(range(1, len(found) + len(left_out) + 1))
        return found, [(each.name, str(each.reason)) for each in left_out], harvest.up_to

    return listed


@pytest.fixture
def pages_of(monkeypatch):
    """Sets how many products are asked for at a time."""
    return lambda size: monkeypatch.setattr("mernet.pds.registry.PAGE", size)


def ids(products):
    return {product.product_id for product in products}


def names(*clocks):
    return {calibrated(clock).upper() for clock in clocks}


def test_a_member_becomes_a_product_with_the_urls_that_the_registry_gives(registry, listed):
    registry.holds(Registered(calibrated(1), TUESDAY))
    [product], left_out, up_to = listed()
    assert product.product_id == calibrated(1).upper()
    assert product.label_url == f"{registry.base}/data/{calibrated(1)}.xml"
    assert product.image_url == f"{registry.base}/data/{calibrated(1)}.img"
    assert (product.lines, product.line_samples) == (512, 512)
    assert product.source == registry.url
    assert left_out == []
    assert up_to == datetime(2026, 11, 17, 5, 53, 24, 611000, UTC)


@pytest.mark.parametrize("size", range(1, 9))
def test_no_product_is_lost_where_many_have_the_same_harvest_time(registry, listed, pages_of, size):
    pages_of(size)
    registry.holds(*(Registered(calibrated(clock), TUESDAY) for clock in (5, 1, 7)))
    registry.holds(*(Registered(calibrated(clock), LATE_TUESDAY) for clock in (6, 3)))
    registry.holds(*(Registered(calibrated(clock), WEDNESDAY) for clock in (2, 4)))
    found, left_out, _ = listed()
    assert ids(found) == names(*range(1, 8))
    assert left_out == []


def test_a_page_by_harvest_time_alone_would_lose_products(registry, listed, pages_of, monkeypatch):
    from mernet.pds import registry as search
    from mernet.pds.errors import BadIndexError

    def by_time_alone(query):
        keys = {"sort", "search-after"} & query.keys()
        return urlencode(query | {key: query[key].partition(",")[0] for key in keys})

    urlencode = search.urlencode
    monkeypatch.setattr(search, "urlencode", by_time_alone)
    pages_of(2)
    registry.holds(*(Registered(calibrated(clock), TUESDAY) for clock in (1, 2, 3)))
    with pytest.raises(BadIndexError, match="ended after 2 of 3 products"):
        listed()


def test_a_server_that_sends_smaller_pages_than_asked_for_is_read_to_its_end(registry, listed):
    registry.most = 2
    registry.holds(*(Registered(calibrated(clock), TUESDAY) for clock in range(1, 6)))
    found, _, _ = listed()
    assert ids(found) == names(*range(1, 6))


def test_a_product_harvested_anew_while_pages_are_read_is_listed_once(registry, listed, pages_of):
    pages_of(1)
    registry.holds(*(Registered(calibrated(clock), TUESDAY) for clock in (1, 2, 3)))
    search = registry._search

    def harvest_before_the_second_page(query):
        if len(registry.queries) == 2:
            registry.holds(Registered(calibrated(1), WEDNESDAY))
        return search(query)

    registry._search = harvest_before_the_second_page
    found, left_out, _ = listed()
    assert ids(found) == names(1, 2, 3)
    assert left_out == [(calibrated(1).upper(), "listed already")]


def test_of_the_versions_of_an_image_the_highest_is_listed(registry, listed):
    registry.holds(
        Registered(calibrated(1, "2"), TUESDAY), Registered(calibrated(1, "1"), WEDNESDAY)
    )
    found, left_out, _ = listed()
    assert ids(found) == {calibrated(1, "2").upper()}
    assert left_out == [(calibrated(1, "1").upper(), "superseded by a higher version")]


def test_labels_are_fetched_of_wanted_names_alone(registry, listed):
    right_eye = calibrated(2).replace("l2c", "r2c")
    registry.holds(
        Registered(calibrated(1), TUESDAY),
        Registered(right_eye, TUESDAY),
        Registered("readme", TUESDAY),
        Registered(calibrated(3), TUESDAY, lines=64),
    )
    found, left_out, _ = listed()
    assert ids(found) == names(1)
    assert dict(left_out) == {
        right_eye: "not left eye",
        "readme": "unreadable name",
        calibrated(3): "not 512x512 or 1024x1024",
    }
    assert sorted(registry.labels_asked) == [calibrated(1), calibrated(3)]


def test_only_what_was_harvested_since_is_asked_for(registry, listed):
    registry.holds(Registered(calibrated(1), TUESDAY), Registered(calibrated(2), WEDNESDAY))
    _, _, up_to = listed()
    registry.holds(Registered(calibrated(3), WEDNESDAY), Registered(calibrated(4), "2026-11-20"))
    found, _, later = listed(up_to)
    assert ids(found) == names(2, 3, 4)
    assert later == datetime(2026, 11, 20, tzinfo=UTC)


def test_an_empty_search_after_the_first_is_not_an_error_and_moves_nothing(registry, listed):
    thursday = datetime(2026, 11, 19, tzinfo=UTC)
    registry.holds(Registered(calibrated(1), TUESDAY))
    assert listed(thursday) == ([], [], thursday)


def test_the_next_listing_begins_at_the_first_product_whose_label_was_missing(registry, listed):
    registry.holds(
        Registered(calibrated(1), "2026-11-16"),
        Registered(calibrated(2), "2026-11-17", has_label=False),
        Registered(calibrated(3), "2026-11-18"),
        Registered(calibrated(4), "2026-11-19", has_label=False),
    )
    found, left_out, up_to = listed()
    assert ids(found) == names(1, 3)
    assert {reason for _, reason in left_out} == {"label not found"}
    assert up_to == datetime(2026, 11, 17, tzinfo=UTC)


def test_a_collection_that_the_registry_does_not_know_is_not_found(registry):
    archive = resolve(registry.url.replace("rover_pancam", "other"))
    with Fetcher(attempts=1) as fetcher, pytest.raises(NotFoundError, match="check the archive"):
        list(list_products([archive], Selection("rdr"), fetcher, print, print))
