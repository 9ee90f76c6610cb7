"""List PDS4 collections by the PDS registry search, in the order of their products' harvest.

Sources: the user guide of its API (nasa-pds.github.io/pds-api, "Query Syntax") and its source code
(github.com/NASA-PDS/registry-api: ProductsController, RegistrySearchRequestBuilder,
PdsProductTransformer). Nothing was tried against the live server.

- GET .../products/LID/members finds the members of the collection's latest version, except those
  that are superseded or not released. Options: `q`, `fields`, `limit`, `sort` (ascending) and
  `search-after`, which has a value for each field of `sort`. Several values are separated by
  commas. That is documented for `fields`; `sort` and `search-after` are lists too.
- The response is {"summary": {"hits": the number of all}, "data": [{"id": LIDVID, "properties":
  {field: [text]}}]}; a field that a product does not have has the text "null".
- Harvest times are compared in milliseconds (type `date` in registry.json of
  NASA-PDS/registry-mgr), so many products may have the same time. With the time alone as the
  key, products with the last time of a page would be lost; so the LIDVID is the second key.
"""

from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlencode

from pydantic import BaseModel, Field, ValidationError

from mernet.pds.archive import Archive
from mernet.pds.collection_members import Member, product_from_lidvid, read_members
from mernet.pds.errors import BadIndexError
from mernet.pds.fetch import FileSource
from mernet.pds.hosts import may_be_listed
from mernet.pds.label import time_or_none
from mernet.pds.label_batches import TRANSIENT_REASONS
from mernet.pds.product import Product
from mernet.pds.selection import LeftOut, Selection
from mernet.printable import printable

MOST_HITS = 10**9  # the registry has some ten million products
PAGE = 1000  # products in a response; the guide recommends less than a few thousand
HARVEST_TIME = "ops:Harvest_Info.ops:harvest_date_time"
LABEL_URL = "ops:Label_File_Info.ops:file_ref"
FILE_URLS = "ops:Data_File_Info.ops:file_ref"
ADVICE = "try again later, or list the collection by its inventory"


class HarvestCursor:
    """How far a registry search has been listed, by harvest time.

    A listing begins with products harvested at `since` (None for all), and sets `up_to`, the time
    at which the next listing has to begin: the latest harvest time, or that of the first product
    whose label was missing or not readable. A label that stays missing makes each listing begin
    there. Times are in UTC, in whole milliseconds, rounded down. A product that was harvested
    before `since` but released later is found only by a listing of all.
    """

    def __init__(self, since: datetime | None = None) -> None:
        self.since = since and _in_milliseconds(since)
        self.up_to = self.since
        self._is_held_back = False

    def advance(self, time: datetime, entry: Product | LeftOut) -> None:
        """Move `up_to` to the next product, except after one for whose label it has to wait."""
        if not self._is_held_back:
            self.up_to = time
        if isinstance(entry, LeftOut) and entry.reason in TRANSIENT_REASONS:
            self._is_held_back = True


def read_registry(
    archive: Archive, selection: Selection, fetcher: FileSource, harvest: HarvestCursor
) -> Iterator[Product | LeftOut]:
    """Yield the members of a collection harvested since then, as products or as left out.

    A product that is not yielded is not withdrawn: it may have been harvested earlier.

    Raises:
        BadIndexError: The search does not answer as documented. Without this error, the listing
            would be incomplete and nothing would show that.
        FetchError: A page of the search or a label cannot be fetched (see `read_members`).
    """
    for page in _read_pages(archive.url, harvest.since, fetcher):
        entries = read_members((hit.member for hit in page), selection, fetcher)
        for hit, entry in zip(page, entries, strict=True):
            harvest.advance(hit.harvested_at, entry)
            yield entry


class _Summary(BaseModel):
    hits: Annotated[int, Field(ge=0, le=MOST_HITS)]


class _Document(BaseModel):
    id: str
    properties: dict[str, list[str]]


class _Response(BaseModel):
    summary: _Summary
    data: list[_Document]


@dataclass(frozen=True, slots=True)
class _Hit:
    """A product in the registry's response; `harvest_time` is the server's own text."""

    lidvid: str
    harvest_time: str
    harvested_at: datetime
    member: Member


@dataclass(frozen=True, slots=True)
class _Page:
    total: int
    hits: list[_Hit]


def _read_pages(url: str, since: datetime | None, fetcher: FileSource) -> Iterator[list[_Hit]]:
    """Yield the pages of a search."""
    page = _request_page(url, since, None, fetcher)
    if not page.total and since is None:
        raise BadIndexError(f"{printable(url)} finds no products; check the LID of the collection")
    # A product that is harvested again meanwhile comes twice; still more means an endless search.
    count, most = 0, 2 * page.total
    earliest, last = since, None
    while page.hits:
        count += len(page.hits)
        if count > most:
            raise BadIndexError(
                f"{printable(url)} lists more products than it says it has; {ADVICE}"
            )
        _check_order(page.hits, earliest, last, url)
        yield page.hits
        if count >= page.total and len(page.hits) < PAGE:
            return
        last = page.hits[-1]
        earliest = last.harvested_at
        page = _request_page(url, since, last, fetcher)
    if count < page.total:
        raise BadIndexError(
            f"{printable(url)} ended after {count} of {page.total} products; {ADVICE}"
        )


def _check_order(hits: list[_Hit], earliest: datetime | None, last: _Hit | None, url: str) -> None:
    """Raise BadIndexError for a page that repeats the last product before it, or is unsorted."""
    if last in hits:
        raise BadIndexError(
            f"{printable(url)} lists {printable(last.lidvid)} on two pages; {ADVICE}"
        )
    for each in hits:
        if earliest and each.harvested_at < earliest:
            raise BadIndexError(
                f"{printable(url)} lists {printable(each.lidvid)} out of order of harvest; {ADVICE}"
            )
        earliest = each.harvested_at


def _request_page(
    url: str, since: datetime | None, last: _Hit | None, fetcher: FileSource
) -> _Page:
    """Request the page that follows the last product of the one before."""
    query = {
        "fields": ",".join((HARVEST_TIME, LABEL_URL, FILE_URLS)),
        "sort": f"{HARVEST_TIME},lidvid",
        "limit": str(PAGE),
    }
    if since:
        text = since.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        query["q"] = f'({HARVEST_TIME} ge "{text}")'
    if last:
        query["search-after"] = f"{last.harvest_time},{last.lidvid}"
    try:
        answer = fetcher.fetch(f"{url}?{urlencode(query)}").removeprefix(BOM_UTF8)
        response = _Response.model_validate_json(answer)
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"]
        raise BadIndexError(
            f"{printable(url)} does not answer as a registry search does "
            f"({printable(reason)}); check its address"
        ) from error
    return _Page(
        response.summary.hits, [_parse_document(document, url) for document in response.data]
    )


def _parse_document(document: _Document, url: str) -> _Hit:
    """Return the product that a document of the response describes."""
    time, *_ = document.properties.get(HARVEST_TIME) or [""]
    harvested_at = time_or_none(time)
    if harvested_at is None:
        raise BadIndexError(
            f"{printable(url)} gives no harvest time for {printable(document.id)}; {ADVICE}"
        )
    label_urls = _web_urls(document, LABEL_URL, url)
    return _Hit(
        lidvid=document.id,
        harvest_time=time,
        harvested_at=_in_milliseconds(harvested_at),
        member=Member(
            product=product_from_lidvid(document.id),
            label_url=label_urls[0] if label_urls else None,
            file_urls=_web_urls(document, FILE_URLS, url),
        ),
    )


def _in_milliseconds(time: datetime) -> datetime:
    """Round a time down, as the registry does to compare it."""
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def _web_urls(document: _Document, field: str, url: str) -> tuple[str, ...]:
    """Return the URLs in a field that the search at `url` may name; others are ignored."""
    return tuple(text for text in document.properties.get(field, ()) if may_be_listed(text, url))
