"""The rows of an index table, in bounded memory and time: unpacked, divided into fields."""

import csv
import gzip
import zlib
from collections.abc import Iterator
from typing import IO, cast

from mernet.pds.errors import BadIndexError
from mernet.pds.index_label import MAX_ROW_BYTES, TableShape
from mernet.printable import printable

GZIP_MAGIC = b"\x1f\x8b"
BLOCK_BYTES = 16 * 1024
MAX_TABLE_BYTES = 4 * 1024**3  # the largest index table known has 772 MB
# Without a promise of the label: real tables, whose values are padded with blanks, pack to a
# thirtieth at most; what is packed tighter than this and large is no table.
MAX_PACKING = 200
SMALL_BYTES = 64 * 1024**2
BOM = b"\xef\xbb\xbf"
LINE_END = b"\r\n"
FILLING = b"\0\x1a"  # fills the end of some files
NOTHING = b" \t" + LINE_END + FILLING
SEPARATORS = "\t,;|"


def read_rows(table: IO[bytes], shape: TableShape, url: str) -> Iterator[bytes]:
    """Yield the rows that are not blank, with their ends; gzip is recognised by the first bytes.

    Only the last row may have no end: then the table may have been cut inside it. A row longer than
    MAX_ROW_BYTES is yielded in pieces. Rows end with CR, LF or both; the label's ROW_BYTES is not
    used to find them, since real labels are off by one.

    Raises:
        BadIndexError: The table is damaged, or unpacks to far more than its label promises.
    """
    is_packed = table.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    packed_bytes = table.seek(0, 2)
    table.seek(0)
    file = cast("IO[bytes]", gzip.GzipFile(fileobj=table)) if is_packed else table
    limit = _limit(shape, packed_bytes) if is_packed else MAX_TABLE_BYTES
    skipped = 0
    try:
        for row in _split_rows(_read_blocks(file, shape.skip_bytes, limit, url)):
            if skipped < shape.skip_rows:
                skipped += 1
            elif row.strip(NOTHING):
                yield row
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadIndexError(f"{url} is damaged ({printable(error)}); fetch it again") from error


def _limit(shape: TableShape, packed_bytes: int) -> int:
    """Return how many bytes a packed table may have unpacked."""
    if shape.rows is None:
        return min(MAX_TABLE_BYTES, max(SMALL_BYTES, MAX_PACKING * packed_bytes))
    row_bytes = 2 * (shape.row_bytes + 2) if shape.row_bytes else MAX_ROW_BYTES
    promised = shape.skip_bytes + 2 * (shape.rows + shape.skip_rows) * row_bytes
    return min(MAX_TABLE_BYTES, max(promised, 1024**2))


def _read_blocks(file: IO[bytes], skip_bytes: int, limit: int, url: str) -> Iterator[bytes]:
    """Yield the content in blocks, from a position on."""
    total = 0
    while block := file.read(BLOCK_BYTES):
        total += len(block)
        if total > limit:
            raise BadIndexError(
                f"{url} has more than {limit} bytes unpacked, far more than its label promises; "
                "check that it is the right file"
            )
        if skip_bytes:
            block, skip_bytes = block[skip_bytes:], max(0, skip_bytes - len(block))
        yield block


def _split_rows(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield rows with their ends, and without a byte order mark in front of the first."""
    rest = b""
    is_begun = False
    for block in blocks:
        if not is_begun:
            block, is_begun = block.removeprefix(BOM), True
        lines = (rest + block).splitlines(keepends=True)
        # The last line may continue in the next block, even behind a CR.
        rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        for line in lines:
            if len(line) <= MAX_ROW_BYTES:  # as all rows of real tables
                yield line
            else:
                yield from _pieces(line)
        while len(rest) > MAX_ROW_BYTES:
            yield rest[:MAX_ROW_BYTES]
            rest = rest[MAX_ROW_BYTES:]
    yield from _pieces(rest)


def _pieces(row: bytes) -> Iterator[bytes]:
    for start in range(0, len(row), MAX_ROW_BYTES):
        yield row[start : start + MAX_ROW_BYTES]


class FieldReader:
    """Divides the rows of one table into fields.

    The separator is the one by which the first readable row has as many fields as its label says:
    tab, comma, semicolon or bar. If there is none, rows have fixed width and the label's START_BYTE
    and BYTES say where the values are.
    """

    def __init__(self, shape: TableShape) -> None:
        self._shape = shape
        self._separator: str | None = None
        self._is_fixed = False

    def fields(self, row: bytes) -> list[str] | None:
        """Return all fields of a row as they are (see `value_of`); None if it does not fit."""
        text = row.decode("latin-1").rstrip("\0\x1a")
        if self._separator is not None:
            return _separated(text, self._separator, self._shape.fields)
        if not self._is_fixed:
            for separator in SEPARATORS:
                found = _separated(text, separator, self._shape.fields)
                if found is not None and (separator in text or not self._shape.places):
                    self._separator = separator
                    return found
        placed = self._placed(text)
        self._is_fixed = placed is not None
        return placed

    def _placed(self, text: str) -> list[str] | None:
        """Return the fields at the places of the label, None if the row is too short for them."""
        shape = self._shape
        if not shape.places or set(shape.first_field) - set(shape.places):
            return None
        last = max(start + size for start, size, _ in shape.places.values())
        if len(text) + 2 < last:
            return None
        found = [""] * shape.fields
        ends = [*sorted(shape.first_field.values()), shape.fields]
        for column, first in shape.first_field.items():
            start, size, step = shape.places[column]
            for item in range(ends[ends.index(first) + 1] - first):
                place = start + item * step
                found[first + item] = text[place : place + size]
        return found


def _separated(text: str, separator: str, fields: int) -> list[str] | None:
    """Return the fields between separators, None if they are not as many as there have to be."""
    found = text.split(separator)
    if len(found) != fields and '"' in text:  # a separator may be in a quoted value
        try:
            (found,) = csv.reader([text], delimiter=separator, skipinitialspace=True)
        except (csv.Error, ValueError):
            return None
    if len(found) == fields + 1 and not found[-1].strip():
        del found[-1]
    return found if len(found) == fields else None


def value_of(text: str) -> str:
    """Return a field's value without quotes, padding and NULs."""
    value = text.strip(' "\0')
    if value[:1] == value[-1:] == "'" and len(value) > 1:
        return value[1:-1].strip(" \0")
    return value
