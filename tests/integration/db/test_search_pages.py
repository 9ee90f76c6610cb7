"""A search for many images reads as many pages as it takes."""

from mernet.db.search import Query, search_pages

ONE_CLASS = (0.95, *[0.1] * 24)


def classified(story, product, count):
    story.classified([product(clock) for clock in range(1, count + 1)], ONE_CLASS)


def test_without_a_limit_every_image_comes_once(story, product, monkeypatch):
    monkeypatch.setattr("mernet.db.search.LARGEST_PAGE", 2)
    classified(story, product, 5)
    page = search_pages(story.engine, Query(("rod",)), wanted=None)
    names = [hit.product_id for hit in page.hits]
    assert names == sorted(set(names))
    assert len(names) == 5
    assert page.next is None


def test_a_limit_larger_than_a_page_is_kept_and_the_rest_can_be_continued(
    story, product, monkeypatch
):
    monkeypatch.setattr("mernet.db.search.LARGEST_PAGE", 2)
    classified(story, product, 5)
    page = search_pages(story.engine, Query(("rod",)), wanted=3)
    assert len(page.hits) == 3
    rest = search_pages(story.engine, Query(("rod",), after=page.next), wanted=None)
    assert len(rest.hits) == 2
