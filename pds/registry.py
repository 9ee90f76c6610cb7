"""The PDS registry search: the members of a PDS4 collection, in the order of their harvest.

What is known of it comes from the user guide of its API (nasa-pds.github.io/pds-api, "Query
Syntax") and from its source (github.com/NASA-PDS/registry-api: ProductsController,
RegistrySearchRequestBuilder, PdsProductTransformer); nothing was tried against the live server.

- GET .../products/LID/members finds the members of the collection's latest version, but for those
  that are superseded or not released. Options: `q`, `fields`, `limit`, `sort` (ascending) and
  `search-after`, which has a value for each field of `sort`. Several are written with commas, as is
  documented for `fields`; for the other two that is derived from their being lists too.
- The answer is {"summary": {"hits": how many in all}, "data": [{"id": LIDVID, "properties":
  {field: [text]}}]}; a field that a product lacks has the text "null".
- Harvest times are compared in milliseconds (type `date` in registry.json of
  NASA-PDS/registry-mgr), so many products may have the same. With that time alone as the key, those
  that follow at the edge of a page are lost; hence the LIDVID as the second key.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from pydantic import BaseModel, NonNegativeInt, ValidationError

from mernet.pds.archive import Archive
from mernet.pds.errors import BadIndexError
from mernet.pds.fetch import FileSource
from mernet.pds.label import time_or_none
from mernet.pds.members import TRANSIENT_REASONS, Member, product_of, read_members
from mernet.pds.product import Product
from mernet.pds.selection import LeftOut, Selection

PAGE = 1000  # products an answer; the guide asks for fewer than a few thousand
HARVEST_TIME = "ops:Harvest_Info.ops:harvest_date_time"
LABEL_URL = "ops:Label_File_Info.ops:file_ref"
FILE_URLS = "ops:Data_File_Info.ops:file_ref"
ADVICE = "try again later, or list the collection by its inventory"


class HarvestCursor:
    """How far the products of a registry search were taken up, by the time of their harvest.

    A listing begins with what was harvested at `since`, None for all, and sets `up_to`, where the
    next one has to begin: the latest harvest time, or that of the first product whose label was not
    there or not readable, so one that never will be makes each listing begin there. Times are in
    UTC, in whole milliseconds, rounded down. A product that was harvested before `since` and
    released only later is found by a listing of all.
    """

    def __init__(self, since: datetime | None = None) -> None:
        self.since = since and _in_milliseconds(since)
        self.up_to = self.since
        self._is_held_back = False

    def note(self, time: datetime, entry: Product | LeftOut) -> None:
        """Take the next product in order of harvest into account."""
        if not self._is_held_back:
            self.up_to = time
        if isinstance(entry, LeftOut) and entry.reason in TRANSIENT_REASONS:
            self._is_held_back = True


def read_registry(
    archive: Archive, selection: Selection, fetcher: FileSource, harvest: HarvestCursor
) -> Iterator[Product | LeftOut]:
    """Every member of a collection that was harvested since, as the product it is or as left out.

    What is missing was not withdrawn: it may have been harvested earlier. Raises FetchError as
    `read_members` does, and BadIndexError where the search does not answer as documented, so that
    the listing would be short without anyone knowing.
    """
    for page in _pages(archive.url, harvest.since, fetcher):
        entries = read_members((found.member for found in page), selection, fetcher)
        for found, entry in zip(page, entries, strict=True):
            harvest.note(found.harvested_at, entry)
            yield entry


class _Summary(BaseModel):
    hits: NonNegativeInt


class _Document(BaseModel):
    id: str
    properties: dict[str, list[str]]


class _Answer(BaseModel):
    summary: _Summary
    data: list[_Document]


@dataclass(frozen=True, slots=True)
class _Found:
    """A product as the registry tells of it; `harvest_time` is the server's own text."""

    lidvid: str
    harvest_time: str
    harvested_at: datetime
    member: Member


@dataclass(frozen=True, slots=True)
class _Page:
    hits: int
    found: list[_Found]


def _pages(url: str, since: datetime | None, fetcher: FileSource) -> Iterator[list[_Found]]:
    """All that the search finds, page by page."""
    page = _ask(url, since, None, fetcher)
    if not page.hits and since is None:
        raise BadIndexError(f"{url} finds no product; check the LID of the collection")
    # What is harvested anew meanwhile comes twice; still more is a search without an end.
    count, most = 0, 2 * page.hits
    earliest, last = since, None
    while page.found:
        count += len(page.found)
        if count > most:
            raise BadIndexError(f"{url} lists more products than it says it has; {ADVICE}")
        _check_order(page.found, earliest, last, url)
        yield page.found
        if count >= page.hits and len(page.found) < PAGE:
            return
        last = page.found[-1]
        earliest = last.harvested_at
        page = _ask(url, since, last, fetcher)
    if count < page.hits:
        raise BadIndexError(f"{url} ended after {count} of {page.hits} products; {ADVICE}")


def _check_order(
    found: list[_Found], earliest: datetime | None, last: _Found | None, url: str
) -> None:
    """Refuse a page that repeats the last product of the one before, or that is not in order."""
    if last in found:
        raise BadIndexError(f"{url} lists {last.lidvid} on two pages; {ADVICE}")
    for each in found:
        if earliest and each.harvested_at < earliest:
            raise BadIndexError(f"{url} lists {each.lidvid} out of order of harvest; {ADVICE}")
        earliest = each.harvested_at


def _ask(url: str, since: datetime | None, last: _Found | None, fetcher: FileSource) -> _Page:
    """The page that follows the last product of the one before."""
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
        answer = _Answer.model_validate_json(fetcher.fetch(f"{url}?{urlencode(query)}"))
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"]
        raise BadIndexError(
            f"{url} does not answer as a registry search does ({reason}); check its address"
        ) from error
    return _Page(answer.summary.hits, [_found(document, url) for document in answer.data])


def _found(document: _Document, url: str) -> _Found:
    """What a document of the answer says of its product."""
    time, *_ = document.properties.get(HARVEST_TIME) or [""]
    harvested_at = time_or_none(time)
    if harvested_at is None:
        raise BadIndexError(f"{url} gives no harvest time for {document.id}; {ADVICE}")
    label_urls = _web_urls(document, LABEL_URL)
    return _Found(
        lidvid=document.id,
        harvest_time=time,
        harvested_at=_in_milliseconds(harvested_at),
        member=Member(
            product=product_of(document.id),
            label_url=label_urls[0] if label_urls else None,
            file_urls=_web_urls(document, FILE_URLS),
        ),
    )


def _in_milliseconds(time: datetime) -> datetime:
    """A time rounded down, as the registry compares it."""
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def _web_urls(document: _Document, field: str) -> tuple[str, ...]:
    """The URLs in a field; what else there may be, such as file://, is not for us to follow."""
    return tuple(
        text
        for text in document.properties.get(field, ())
        if text.startswith(("http://", "https://")) and text.isprintable()
    )
