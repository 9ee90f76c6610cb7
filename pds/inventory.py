"""List PDS4 collection inventories: a CSV of member status and LIDVID; each product has a label."""

import csv
import io
from collections.abc import Iterator
from urllib.parse import quote, urljoin

from mernet.pds.archive import Archive
from mernet.pds.collection_members import (
    TRANSIENT_REASONS,
    Member,
    product_from_lidvid,
    read_members,
)
from mernet.pds.errors import BadIndexError
from mernet.pds.fetch import FileSource
from mernet.pds.product import Product
from mernet.pds.selection import LeftOut, LeftOutReason, Selection


def read_inventory(
    archive: Archive, selection: Selection, fetcher: FileSource
) -> Iterator[Product | LeftOut]:
    """Yield every member of a collection, in order, as a product or as left out.

    Raises:
        BadIndexError: The file is not an inventory, or none of the labels that were needed exists
            and is readable.
        FetchError: The inventory or a label cannot be fetched (see `read_members`).
    """
    lost: LeftOut | None = None
    any_label = False
    members = (_parse_row(row, archive) for row in _read_rows(archive, fetcher))
    for entry in read_members(members, selection, fetcher):
        if isinstance(entry, Product) or entry.reason is LeftOutReason.NOT_HIGH_RESOLUTION:
            any_label = True
        elif entry.reason in TRANSIENT_REASONS:
            lost = entry
        yield entry
    if lost and not any_label:
        raise BadIndexError(_no_readable_label(archive, lost))


def _no_readable_label(archive: Archive, lost: LeftOut) -> str:
    """Return the message for a collection without a readable label; `lost` is one example."""
    is_missing = lost.reason is LeftOutReason.LABEL_NOT_FOUND
    problem = "does not exist" if is_missing else "is not a PDS4 label"
    return (
        f"{_label_url(archive, lost.name)} {problem}"
        f", and no other wanted product of {archive.url} has a readable one; check what is there, "
        "or correct `label` in the archive's entry of archives.toml"
    )


def _read_rows(archive: Archive, fetcher: FileSource) -> Iterator[list[str]]:
    """Yield the inventory's rows, each (status, LIDVID)."""
    number = 0
    with fetcher.open(archive.url) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
        try:
            for number, row in enumerate(filter(None, csv.reader(text)), start=1):
                _check_row(row, number, archive.url)
                yield row
        except csv.Error as error:
            raise BadIndexError(f"{archive.url} is not a collection inventory: {error}") from error
    if not number:
        raise BadIndexError(f"{archive.url} is not a collection inventory: it has no row")


def _check_row(row: list[str], number: int, url: str) -> None:
    """Raise BadIndexError unless a row is a member status and an identifier."""
    if len(row) != 2 or row[0].strip() not in ("P", "S") or ":" not in row[1]:
        raise BadIndexError(
            f"{url} is not a collection inventory: row {number} is not P or S and an identifier"
        )


def _parse_row(row: list[str], archive: Archive) -> Member | LeftOut:
    """Return the member in a row, or left out if it is a secondary member."""
    status, lidvid = (field.strip() for field in row)
    product = product_from_lidvid(lidvid)
    if status == "S":
        return LeftOut(product, LeftOutReason.SECONDARY_MEMBER)
    return Member(product, _label_url(archive, product))


def _label_url(archive: Archive, product: str) -> str:
    """Return the URL that a product's label must have."""
    return urljoin(archive.url, quote(archive.label.format(product=product)))
