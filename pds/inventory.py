"""PDS4 collection inventories: a CSV of member status and LIDVID, and one XML label a product."""

import csv
import io
from collections.abc import Iterator
from urllib.parse import quote, urljoin

from mernet.pds.archive import Archive
from mernet.pds.errors import BadIndexError
from mernet.pds.fetch import FileSource
from mernet.pds.members import TRANSIENT_REASONS, Member, product_of, read_members
from mernet.pds.product import Product
from mernet.pds.selection import LeftOut, LeftOutReason, Selection


def read_inventory(
    archive: Archive, selection: Selection, fetcher: FileSource
) -> Iterator[Product | LeftOut]:
    """Every member of a collection, in order, as the product it lists or as left out.

    Raises FetchError as `read_members` does, and BadIndexError for a file that is no inventory and
    if labels were looked for but none that can be read is where it should be.
    """
    lost: LeftOut | None = None
    any_label = False
    members = (_member(row, archive) for row in _rows(archive, fetcher))
    for entry in read_members(members, selection, fetcher):
        if isinstance(entry, Product) or entry.reason is LeftOutReason.NOT_HIGH_RESOLUTION:
            any_label = True
        elif entry.reason in TRANSIENT_REASONS:
            lost = entry
        yield entry
    if lost and not any_label:
        raise BadIndexError(_why_no_label(archive, lost))


def _why_no_label(archive: Archive, lost: LeftOut) -> str:
    """A sentence for a collection of which no label at all can be had, `lost` for one of them."""
    is_missing = lost.reason is LeftOutReason.LABEL_NOT_FOUND
    return (
        f"{_label_url(archive, lost.name)} {'does not exist' if is_missing else 'is no PDS4 label'}"
        f", and no other product wanted from {archive.url} has one that can be read; see what is "
        "there, or set `label` in its entry of archives.toml to their place"
    )


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


def _member(row: list[str], archive: Archive) -> Member | LeftOut:
    """A primary member, or left out."""
    status, lidvid = (field.strip() for field in row)
    product = product_of(lidvid)
    if status == "S":
        return LeftOut(product, LeftOutReason.SECONDARY_MEMBER)
    return Member(product, _label_url(archive, product))


def _label_url(archive: Archive, product: str) -> str:
    """Where a product's label has to lie."""
    return urljoin(archive.url, quote(archive.label.format(product=product)))
