"""The registry search: its requests, and responses that are not as documented."""

import json
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from mernet.pds import registry
from mernet.pds.archive import resolve
from mernet.pds.errors import BadIndexError, ForbiddenError
from mernet.pds.listing import list_products
from mernet.pds.registry import FILE_URLS, HARVEST_TIME, LABEL_URL, HarvestCursor
from mernet.pds.selection import LeftOut, LeftOutReason, Selection

SEARCH = "https://example.org/api/search/1/products/urn:nasa:pds:b:c/members"
DATA = "https://example.org/data"
MONDAY, TUESDAY = "2026-11-16T05:53:24.611495Z", "2026-11-17T05:53:24.611495Z"
NAMES = [f"2p{clock:09d}rad0361p2600l2c1" for clock in range(10)]


class Source:
    """Answers searches in turn, repeating the last answer, and serves one label."""

    connections_per_host = 1

    def __init__(self, answers, label=b""):
        self.answers, self.label = list(answers), label
        self.asked = []

    def fetch(self, url):
        if not url.startswith(SEARCH):
            assert url.startswith("https://"), f"not to be fetched: {url}"
            return self.label
        self.asked.append({name: text for name, [text] in parse_qs(urlsplit(url).query).items()})
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        return answer if isinstance(answer, bytes) else json.dumps(answer).encode()


def document(number, time=MONDAY, **properties):
    stem = f"{DATA}/{NAMES[number]}"
    known = {HARVEST_TIME: [time], LABEL_URL: [f"{stem}.xml"], FILE_URLS: [f"{stem}.img"]}
    return {"id": f"urn:nasa:pds:b:c:{NAMES[number]}::1.0", "properties": known | properties}


def answer(*documents, hits=None):
    return {"summary": {"hits": len(documents) if hits is None else hits}, "data": documents}


def listed(source, harvest=None):
    """What is listed, wanted or not."""
    left_out = []
    found = list_products(
        [resolve(SEARCH)], Selection("rdr"), source, left_out.append, lambda rows: None, harvest
    )
    return [*found, *left_out]


@pytest.fixture
def label(pds4_label):
    return pds4_label(np.zeros((512, 512)), "UnsignedMSB2", file_name=f"{NAMES[1]}.img")


def test_the_search_asks_for_few_fields_in_an_order_without_ties(label):
    source = Source([answer(document(1))], label)
    listed(source)
    assert source.asked == [
        {
            "fields": f"{HARVEST_TIME},{LABEL_URL},{FILE_URLS}",
            "sort": f"{HARVEST_TIME},lidvid",
            "limit": "1000",
        }
    ]


def test_the_next_page_follows_the_last_product_in_the_words_of_the_server(label):
    source = Source([answer(document(1), document(2), hits=3), answer(document(3), hits=3)], label)
    assert len(listed(source)) == 3
    assert source.asked[1]["search-after"] == f"{MONDAY},urn:nasa:pds:b:c:{NAMES[2]}::1.0"


def test_since_is_asked_for_in_milliseconds_rounded_down(label):
    source = Source([answer(document(1, TUESDAY))], label)
    listed(source, HarvestCursor(datetime(2026, 11, 17, 5, 53, 24, 611999, UTC)))
    assert source.asked[0]["q"] == f'({HARVEST_TIME} ge "2026-11-17T05:53:24.611Z")'


@pytest.mark.parametrize(
    ("answers", "complaint"),
    [
        ([b"<html>Down for maintenance</html>"], "does not answer as a registry search does"),
        ([b""], "does not answer as a registry search does"),
        ([b"[" * 100_000], "does not answer as a registry search does"),
        ([{"message": "gone"}], "does not answer as a registry search does"),
        ([{"summary": {"hits": 1}}], "does not answer as a registry search does"),
        ([{"summary": {"hits": -1}, "data": []}], "does not answer as a registry search does"),
        ([{"summary": {"hits": 10**4000}, "data": []}], "does not answer as a registry search"),
        ([{"summary": {"hits": 10**30}, "data": []}], "does not answer as a registry search does"),
        ([answer({"id": NAMES[1]})], "does not answer as a registry search does"),
        ([answer()], "check the LID of the collection"),
        ([answer(document(1, "null"))], "gives no harvest time for urn:nasa:pds:b:c:"),
        ([answer(document(1, **{HARVEST_TIME: []}))], "gives no harvest time"),
        ([answer(document(1, TUESDAY), document(2, MONDAY))], "out of order of harvest"),
        ([answer(document(1, TUESDAY), hits=2), answer(document(2), hits=2)], "out of order"),
        ([answer(document(1), document(2), hits=9)], "on two pages"),
        ([answer(document(1), hits=3), answer(hits=3)], "ended after 1 of 3 products"),
        ([answer(hits=3)], "ended after 0 of 3 products"),
        ([answer(document(1), document(2), document(3), hits=1)], "more products than it says"),
    ],
)
def test_an_answer_that_is_not_as_documented_is_an_error(label, answers, complaint):
    with pytest.raises(BadIndexError, match=complaint) as caught:
        listed(Source(answers, label))
    assert len(str(caught.value)) < 500


def test_a_byte_order_mark_before_an_answer_does_not_matter(label):
    text = b"\xef\xbb\xbf" + json.dumps(answer(document(1))).encode()
    assert [product.product_id for product in listed(Source([text], label))] == [NAMES[1].upper()]


def test_a_search_without_an_end_is_given_up(label):
    """Each page is new and in order, and there is always one more."""

    class Endless(Source):
        def fetch(self, url):
            page = answer(document(len(self.asked) % 10, f"2026-11-{len(self.asked) + 1:02d}"))
            self.answers = [page | {"summary": {"hits": 5 + len(self.asked)}}]
            return super().fetch(url)

    source = Endless([], label)
    with pytest.raises(BadIndexError, match="more products than it says"):
        listed(source)
    assert len(source.asked) == 11


def test_a_server_that_does_not_heed_since_is_noticed(label):
    with pytest.raises(BadIndexError, match="out of order of harvest"):
        listed(
            Source([answer(document(1, MONDAY))], label),
            HarvestCursor(datetime(2026, 11, 17, tzinfo=UTC)),
        )


def test_without_the_data_files_url_the_file_lies_beside_the_label(label):
    source = Source([answer(document(1, **{FILE_URLS: ["null"]}))], label)
    [product] = listed(source)
    assert product.image_url == f"{DATA}/{NAMES[1]}.img"


def test_of_several_files_the_one_that_the_label_names_is_the_image(label):
    urls = [f"{DATA}/{NAMES[1]}.txt", f"https://mirror.example/other/{NAMES[1]}.img"]
    [product] = listed(Source([answer(document(1, **{FILE_URLS: urls}))], label))
    assert product.image_url == urls[1]


@pytest.mark.parametrize(
    "url", ["null", "file:///etc/passwd", "ftp://a.org/1.xml", "https://a\0b", ""]
)
def test_a_label_that_is_not_on_the_web_is_not_fetched(label, url):
    [left_out] = listed(Source([answer(document(1, **{LABEL_URL: [url]}))], label))
    assert left_out == LeftOut(NAMES[1], LeftOutReason.LABEL_NOT_FOUND)


def test_a_data_file_that_is_not_on_the_web_is_not_the_image(label):
    urls = [f"file:///etc/{NAMES[1]}.img", f"https://example.org/\0/{NAMES[1]}.img"]
    [product] = listed(Source([answer(document(1, **{FILE_URLS: urls}))], label))
    assert product.image_url == f"{DATA}/{NAMES[1]}.img"


def test_a_label_that_is_refused_is_an_error_since_the_listing_would_be_short():
    class Refusing(Source):
        def fetch(self, url):
            if url.startswith(DATA):
                raise ForbiddenError(f"{url} was refused")
            return super().fetch(url)

    with pytest.raises(ForbiddenError):
        listed(Refusing([answer(document(1))]))


@pytest.mark.parametrize(
    ("reasons", "day"),
    [
        ([None, None, None], 3),
        ([None, None, LeftOutReason.NOT_LEFT_EYE], 3),
        ([None, LeftOutReason.LABEL_NOT_FOUND, None], 2),
        ([LeftOutReason.UNREADABLE_LABEL, None, LeftOutReason.LABEL_NOT_FOUND], 1),
    ],
)
def test_the_next_listing_begins_at_the_last_product_or_the_first_without_a_label(
    label, reasons, day
):
    harvest = HarvestCursor()
    [wanted] = listed(Source([answer(document(1))], label))
    for number, reason in enumerate(reasons, start=1):
        entry = LeftOut("name", reason) if reason else wanted
        harvest.advance(datetime(2026, 11, number, tzinfo=UTC), entry)
    assert harvest.up_to == datetime(2026, 11, day, tzinfo=UTC)


def test_a_url_of_a_private_address_is_no_label_s_url() -> None:
    """Another host than the search's must be public."""
    document = registry._Document(
        id="urn:a:b:c::1.0",
        properties={
            registry.HARVEST_TIME: ["2024-01-01T00:00:00Z"],
            registry.LABEL_URL: ["http://169.254.169.254/a.xml", "http://[", "https://8.8.8.8/a"],
        },
    )
    hit = registry._parse_document(document, "https://8.8.4.4/api")
    assert hit.member.label_url == "https://8.8.8.8/a"
