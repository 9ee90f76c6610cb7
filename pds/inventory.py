"""List PDS4 collection inventories: member status and LIDVID in rows; each product has a label."""

import csv
import io
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO
from urllib.parse import quote, urljoin

from mernet.pds import pds4
from mernet.pds.archive import Archive
from mernet.pds.collection_members import Member, product_from_lidvid, read_members
from mernet.pds.completeness import CompletenessCheck
from mernet.pds.errors import (
    BadIndexError,
    BadNameError,
    DecodeError,
    ForbiddenError,
    NotAFileError,
    NotFoundError,
)
from mernet.pds.fetch import FileSource
from mernet.pds.label import counter_or_none
from mernet.pds.product import Product, ProductName
from mernet.pds.selection import LeftOut, LeftOutReason, Selection
from mernet.printable import printable

STATUSES = ("P", "S")
SEPARATORS = ",\t;|"
MAX_LINE = 200_000  # characters; real rows have under 100


def read_inventory(
    archive: Archive,
    selection: Selection,
    fetcher: FileSource,
    completeness: CompletenessCheck,
) -> Iterator[Product | LeftOut]:
    """Yield every member of a collection, in order, as a product or as left out.

    Raises:
        BadIndexError: The file is not an inventory, ends before its label says, or none of the
            labels that were needed exists and is readable.
        FetchError: The inventory or a label cannot be fetched (see `read_members`).
    """
    rows = 0

    def members() -> Iterator[Member | LeftOut]:
        nonlocal rows
        for row, is_ended in _read_rows(archive, fetcher):
            entry = _parse_row(row, is_ended, archive)
            if not (isinstance(entry, LeftOut) and entry.reason is LeftOutReason.UNREADABLE_ROW):
                rows += 1
            yield entry

    def all_lost(lost: LeftOut) -> BadIndexError:
        return BadIndexError(_no_readable_label(archive, lost))

    yield from read_members(members(), selection, fetcher, all_lost)
    completeness.compare(archive.url, rows, _promised_rows(archive.url, fetcher))


def _promised_rows(url: str, fetcher: FileSource) -> int | None:
    """Return the number of records in the label of an inventory, None without such a label.

    The label is beside the inventory, usually with the same name but for `_inventory`. An inventory
    in upper case may have a label in lower case.
    """
    folder, name = urljoin(url, "."), PurePosixPath(url).stem
    for label in _label_names(name):
        label_url = f"{folder}{label}"
        try:
            with fetcher.open(label_url) as file:
                return _records(file, label_url, PurePosixPath(url).name)
        except (NotFoundError, ForbiddenError, NotAFileError):
            continue
    return None


def _label_names(name: str) -> Iterator[str]:
    """Yield the possible names of the label of an inventory, given without its extension."""
    stems = dict.fromkeys((name, name.removesuffix("_inventory"), name.removesuffix("_INVENTORY")))
    for stem in stems:
        for suffix in pds4.LABEL_SUFFIXES:
            as_written = f"{stem}{suffix.upper() if name.isupper() else suffix}"
            yield from dict.fromkeys((as_written, f"{stem}{suffix}", as_written.lower()))


def _records(file: IO[bytes], label_url: str, inventory: str) -> int | None:
    """Return the number of records that a collection's label gives for an inventory."""
    data = file.read(pds4.MAX_LABEL_BYTES + 1)
    if len(data) > pds4.MAX_LABEL_BYTES:
        return None
    try:
        root = pds4.parse_xml(data, label_url)
    except DecodeError:
        return None
    for area in root.iterfind("{*}File_Area_Inventory"):
        file_name = area.findtext("{*}File/{*}file_name", "").strip()
        if file_name.lower() in ("", inventory.lower()):
            return counter_or_none(area.findtext("{*}Inventory/{*}records", ""))
    return None


def _no_readable_label(archive: Archive, lost: LeftOut) -> str:
    """Return the message for a collection without a readable label; `lost` is one example."""
    is_missing = lost.reason is LeftOutReason.LABEL_NOT_FOUND
    problem = "does not exist" if is_missing else "is not a PDS4 label"
    return (
        f"{_label_url(archive, lost.name)} {problem}"
        f", and no other wanted product of {archive.url} has a readable one; check what is there, "
        "or correct `label` in the archive's entry of archives.toml"
    )


def _read_rows(archive: Archive, fetcher: FileSource) -> Iterator[tuple[list[str], bool]]:
    """Yield the inventory's rows, each (status, LIDVID), and whether its line has an end."""
    number = 0
    with fetcher.open(archive.url) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
        try:
            separator = _separator(text)
            lines = _BoundedLines(text)
            reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
            for row in reader:
                values = [value.strip() for value in row]
                while values and not values[-1].strip("\0\x1a"):
                    del values[-1]
                if not values:
                    continue
                number += 1
                _check_row(values, number, archive.url)
                yield values, lines.is_ended
        except csv.Error as error:
            raise BadIndexError(
                f"{archive.url} is not a collection inventory: {printable(error)}"
            ) from error
        finally:
            text.detach()
    if not number:
        raise BadIndexError(f"{archive.url} is not a collection inventory: it has no row")


class _BoundedLines:
    """Lines of at most MAX_LINE characters, without NULs, which fill the end of some files.

    The reader of rows refuses a longer field itself.

    Attributes:
        is_ended: Whether the last line that was read has an end.
    """

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self.is_ended = True

    def __iter__(self) -> Iterator[str]:
        while line := self._text.readline(MAX_LINE):
            self.is_ended = line.endswith(("\n", "\r"))
            yield line.replace("\0", "")


def _separator(text: io.TextIOWrapper) -> str:
    """Return the separator that follows the first member status; the standard's is a comma."""
    start = text.readline(100).strip().lstrip('"')
    text.seek(0)
    return next((each for each in start[1:].lstrip('" ')[:1] if each in SEPARATORS), ",")


def _check_row(row: list[str], number: int, url: str) -> None:
    """Raise BadIndexError unless a row is a member status and an identifier."""
    is_one_line = all(end not in row[-1] for end in "\r\n")
    if len(row) != 2 or row[0].upper() not in STATUSES or ":" not in row[1] or not is_one_line:
        raise BadIndexError(
            f"{url} is not a collection inventory: row {number} is not P or S and an identifier, "
            f"but {printable(row, 100)}"
        )


def _parse_row(row: list[str], is_ended: bool, archive: Archive) -> Member | LeftOut:
    """Return the member in a row; left out if it is a secondary member, or its row is cut."""
    status, lidvid = row
    product = product_from_lidvid(lidvid)
    if not is_ended and not _is_product_name(product):
        return LeftOut(printable(product), LeftOutReason.UNREADABLE_ROW)
    if status.upper() == "S":
        return LeftOut(printable(product), LeftOutReason.SECONDARY_MEMBER)
    return Member(product, _label_url(archive, product))


def _is_product_name(text: str) -> bool:
    try:
        ProductName.parse(text)
    except BadNameError:
        return False
    return True


def _label_url(archive: Archive, product: str) -> str:
    """Return the URL that a product's label must have."""
    return urljoin(archive.url, archive.label.replace("{product}", quote(product, safe="")))
