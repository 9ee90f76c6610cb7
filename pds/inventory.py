"""PDS4 collection inventories: a CSV of member status and LIDVID, and one XML label a product."""

import csv
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from urllib.parse import quote, urljoin

from pds import pds4
from pds.archive import Archive
from pds.errors import BadIndexError, BadNameError, DecodeError, NotFoundError
from pds.fetch import FileSource
from pds.product import Product, ProductName
from pds.selection import LeftOut, LeftOutReason, Selection

# Why a member is left out once its label has been fetched.
BY_LABEL = (LeftOutReason.UNREADABLE_LABEL, LeftOutReason.NOT_HIGH_RESOLUTION)
BATCH = 256  # rows taken together, so that their labels are fetched side by side


def read_inventory(
    archive: Archive, selection: Selection, fetcher: FileSource
) -> Iterator[Product | LeftOut]:
    """Every member of a collection, in order, as the product it lists or as left out.

    A label that does not exist or cannot be read leaves its product out; one that cannot be
    fetched for another reason raises FetchError, since the listing would be short without anyone
    knowing. Raises BadIndexError for a file that is no inventory, and if labels were looked for
    but none exists where it should.
    """
    lost, any_label = "", False
    for entry in _members(archive, selection, fetcher):
        if isinstance(entry, Product) or entry.reason in BY_LABEL:
            any_label = True
        elif entry.reason is LeftOutReason.LABEL_NOT_FOUND:
            lost = entry.name
        yield entry
    if lost and not any_label:
        raise BadIndexError(
            f"{_label_url(archive, lost)} does not exist, nor does the label of any other product "
            f"wanted from {archive.url}; set `label` in its entry of archives.toml to their place"
        )


def _members(
    archive: Archive, selection: Selection, fetcher: FileSource
) -> Iterator[Product | LeftOut]:
    """The members, their labels fetched side by side."""

    def read(row: list[str]) -> Product | LeftOut:
        return _read_member(row, archive, selection, fetcher)

    rows = _rows(archive, fetcher)
    with ThreadPoolExecutor(fetcher.connections_per_host) as pool:
        while batch := list(islice(rows, BATCH)):
            yield from pool.map(read, batch)


def _rows(archive: Archive, fetcher: FileSource) -> Iterator[list[str]]:
    """The inventory's rows, at least one, each (status, LIDVID)."""
    number = 0
    with fetcher.open(archive.url) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
        try:
            for number, row in enumerate(filter(None, csv.reader(text)), start=1):
                _check_row(row, number, archive.url)
                yield row
        except csv.Error as error:
            raise BadIndexError(f"{archive.url} is no collection inventory: {error}") from error
    if not number:
        raise BadIndexError(f"{archive.url} is no collection inventory: it has no row")


def _check_row(row: list[str], number: int, url: str) -> None:
    """Refuse what is not a member status and an identifier."""
    if len(row) != 2 or row[0].strip() not in ("P", "S") or ":" not in row[1]:
        raise BadIndexError(
            f"{url} is no collection inventory: row {number} is not P or S and an identifier"
        )


def _read_member(
    row: list[str], archive: Archive, selection: Selection, fetcher: FileSource
) -> Product | LeftOut:
    """One member: `urn:nasa:pds:bundle:collection:product::version`."""
    status, identifier = (field.strip() for field in row)
    product = identifier.partition("::")[0].rpartition(":")[2]
    if status == "S":
        return LeftOut(product, LeftOutReason.SECONDARY_MEMBER)
    try:
        name = ProductName.parse(product)
    except BadNameError:
        return LeftOut(product, LeftOutReason.UNREADABLE_NAME)
    reason = selection.reason_against_name(name)
    if reason:
        return LeftOut(product, reason)
    label_url = _label_url(archive, product)
    try:
        label = pds4.read_label(fetcher.fetch(label_url), label_url)
    except NotFoundError:
        return LeftOut(product, LeftOutReason.LABEL_NOT_FOUND)
    except DecodeError:
        return LeftOut(product, LeftOutReason.UNREADABLE_LABEL)
    image_url = urljoin(label_url, quote(label.file_name))
    return selection.product(product, label.facts, image_url, label_url)


def _label_url(archive: Archive, product: str) -> str:
    """Where a product's label has to lie."""
    return urljoin(archive.url, quote(archive.label.format(product=product)))
