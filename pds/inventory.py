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
from pds.fetch import Fetcher
from pds.product import Product, ProductName
from pds.selection import LeftOut, LeftOutReason, Selection

BATCH = 256  # rows taken together, so that their labels are fetched side by side


def read_inventory(
    archive: Archive, selection: Selection, fetcher: Fetcher
) -> Iterator[Product | LeftOut]:
    """Every member of a collection, in order, as the product it lists or as left out.

    A label that does not exist or cannot be read leaves its product out; one that cannot be
    fetched for another reason raises FetchError, since the listing would be short without anyone
    knowing. Raises BadIndexError for a file that is no inventory.
    """

    def read(row: list[str]) -> Product | LeftOut:
        return _read_member(row, archive, selection, fetcher)

    rows = _rows(archive, fetcher)
    with ThreadPoolExecutor(fetcher.connections_per_host) as pool:
        while batch := list(islice(rows, BATCH)):
            yield from pool.map(read, batch)


def _rows(archive: Archive, fetcher: Fetcher) -> Iterator[list[str]]:
    """The inventory's rows, each checked to be (status, LIDVID)."""
    with fetcher.open(archive.url) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
        for number, row in enumerate(filter(None, csv.reader(text)), start=1):
            if len(row) != 2 or row[0].strip() not in ("P", "S") or ":" not in row[1]:
                raise BadIndexError(
                    f"{archive.url} is no collection inventory: row {number} is not P or S "
                    "and an identifier"
                )
            yield row


def _read_member(
    row: list[str], archive: Archive, selection: Selection, fetcher: Fetcher
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
    label_url = urljoin(archive.url, quote(archive.label.format(product=product)))
    try:
        label = pds4.read_label(fetcher.fetch(label_url), label_url)
    except (DecodeError, NotFoundError):
        return LeftOut(product, LeftOutReason.UNREADABLE_LABEL)
    image_url = urljoin(label_url, quote(label.file_name))
    return selection.product(product, label.facts, image_url, label_url)
