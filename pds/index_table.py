"""List PDS3 index tables: a label describes the columns, each row of the table is one product."""

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import IO
from urllib.parse import quote, urljoin

from mernet.pds.archive import Archive, ArchiveKind
from mernet.pds.errors import BadIndexError, NotFoundError
from mernet.pds.fetch import FileSource
from mernet.pds.index_label import MAX_LABEL_BYTES, TableShape, parse_label
from mernet.pds.label import counter_or_none, text_or_none, time_or_none, whole_or_none
from mernet.pds.product import Product, ProductName
from mernet.pds.selection import LeftOut, LeftOutReason, Selection

REQUIRED = ("PATH_NAME", "FILE_NAME", "LINES", "LINE_SAMPLES")
OPTIONAL = ("PLANET_DAY_NUMBER", "START_TIME", "LOCAL_TRUE_SOLAR_TIME")
INDEXES = {
    "edr": ("edrindex.lbl",),
    "rdr": ("rdrindex.lbl",),
    "any": ("edrindex.lbl", "rdrindex.lbl"),
}
GZIP_MAGIC = b"\x1f\x8b"
MAX_ROW_BYTES = 64 * 1024  # real rows have under 1 kB


def read_index(
    archive: Archive, selection: Selection, fetcher: FileSource
) -> Iterator[Product | LeftOut]:
    """Yield every row of an archive's index tables, in order, as a product or as left out.

    Raises:
        BadIndexError: A table is not usable at all.
        FetchError: A table or label cannot be fetched.
    """
    if archive.kind is ArchiveKind.VOLUME:
        for label_name in INDEXES[selection.products]:
            label_url = urljoin(archive.url, f"index/{label_name}")
            yield from _read_table(label_url, None, selection, fetcher)
    elif archive.url.lower().endswith(".lbl"):
        yield from _read_table(archive.url, None, selection, fetcher)
    else:
        yield from _read_table(_label_beside(archive.url), archive.url, selection, fetcher)


def _read_table(
    label_url: str, table_url: str | None, selection: Selection, fetcher: FileSource
) -> Iterator[Product | LeftOut]:
    """Yield the rows of one table; without its URL, the label names its file."""
    with fetcher.open(label_url) as label:
        shape = parse_label(label.read(MAX_LABEL_BYTES + 1), label_url)
    reader = RowReader(shape, _base_url(label_url), selection)
    missing = [column for column in REQUIRED if column not in shape.first_field]
    if missing:
        raise BadIndexError(
            f"{label_url} describes a table without {', '.join(missing)}, so its products have "
            "no known location; give the index of an operations volume"
        )
    urls = [table_url] if table_url else _table_urls(label_url, shape.table_name)
    readable = False
    with ExitStack() as stack:
        for number, row in enumerate(
            _read_rows(_open_first_existing(urls, fetcher, stack), urls[0]), 1
        ):
            entry = reader.read(row, number)
            readable = readable or not _is_unreadable(entry)
            yield entry
    if not readable:
        raise BadIndexError(
            f"{urls[0]} has no row of {shape.fields} fields separated by tabs, as its label "
            "describes; check that label and table belong together"
        )


def _is_unreadable(entry: Product | LeftOut) -> bool:
    """Return whether a row does not have the fields that the label describes."""
    return isinstance(entry, LeftOut) and entry.reason is LeftOutReason.UNREADABLE_ROW


@dataclass(frozen=True, slots=True)
class RowReader:
    """Turns a row of a table into a product; `base_url` is the folder that contains the volume."""

    shape: TableShape
    base_url: str
    selection: Selection

    def read(self, row: bytes, number: int) -> Product | LeftOut:
        """Return the product that a row lists, or the reason why it is left out.

        The name is checked first, because it alone decides about nearly all rows.
        """
        fields = row.rstrip(b"\r\n").split(b"\t")
        if len(fields) != self.shape.fields:
            return LeftOut(f"row {number}", LeftOutReason.UNREADABLE_ROW)
        file_name = self._field_text(fields, "FILE_NAME")
        name = self.selection.wanted_name(file_name)
        return name if isinstance(name, LeftOut) else self._product(name, file_name, fields)

    def _product(self, name: ProductName, file_name: str, fields: list[bytes]) -> Product | LeftOut:
        """Return the product of a row whose name is wanted, or left out for its other fields."""
        lines = whole_or_none(self._field_text(fields, "LINES"))
        line_samples = whole_or_none(self._field_text(fields, "LINE_SAMPLES"))
        path = self._field_text(fields, "PATH_NAME").strip("/")
        if lines is None or line_samples is None or ".." in path.split("/"):
            return LeftOut(file_name, LeftOutReason.UNREADABLE_ROW)
        reason = self.selection.reason_against_size(lines, line_samples)
        if reason:
            return LeftOut(file_name, reason)
        sol, start_time, local_solar_time = (
            self._field_text(fields, column) for column in OPTIONAL
        )
        site, drive = (self._field_text(fields, "ROVER_MOTION_COUNTER", item) for item in (0, 1))
        return Product(
            name=name,
            image_url=self._url(path, file_name),
            label_url=None,
            browse_url=self._browse_url(path, file_name),
            lines=lines,
            line_samples=line_samples,
            sol=counter_or_none(sol),
            site=counter_or_none(site) if name.site is None else name.site,
            drive=counter_or_none(drive) if name.drive is None else name.drive,
            start_time=time_or_none(start_time),
            local_solar_time=text_or_none(local_solar_time),
        )

    def _field_text(self, fields: list[bytes], column: str, item: int = 0) -> str:
        """Return a field's text without quotes and padding, empty without such a column."""
        position = self.shape.first_field.get(column)
        if position is None or position + item >= self.shape.fields:
            return ""
        return fields[position + item].strip(b' "').decode("ascii", errors="replace")

    def _url(self, path: str, file_name: str) -> str:
        """Return a file's URL; PATH_NAME is relative to the folder that contains the volume."""
        return f"{self.base_url}{quote(path)}/{quote(file_name)}"

    def _browse_url(self, path: str, file_name: str) -> str | None:
        """Return the URL of the browse image: data/ becomes browse/, and .jpg is added."""
        volume, data, rest = path.partition("/data/")
        return self._url(f"{volume}/browse/{rest}", f"{file_name}.jpg") if data else None


def _base_url(label_url: str) -> str:
    """Return the folder that contains the volume; the label is in the volume's index/ folder."""
    return urljoin(label_url, "../../")


def _label_beside(table_url: str) -> str:
    """Return the URL of a table's label: the same name with .lbl, in the same case."""
    stem = re.sub(r"\.gz$", "", table_url, flags=re.IGNORECASE)
    return stem[:-4] + (".LBL" if stem.endswith(".TAB") else ".lbl")


def _table_urls(label_url: str, table_name: str) -> list[str]:
    """Return possible URLs of a table: labels write its name in upper case, servers often lower."""
    names = dict.fromkeys((table_name, table_name.lower(), f"{table_name.lower()}.gz"))
    return [urljoin(label_url, quote(name)) for name in names]


def _open_first_existing(urls: list[str], fetcher: FileSource, stack: ExitStack) -> IO[bytes]:
    """Open the first of the tables that exists, until the stack closes."""
    for url in urls:
        try:
            return stack.enter_context(fetcher.open(url))
        except NotFoundError:
            continue
    raise NotFoundError(f"None of {', '.join(urls)} exists; check the archive's base URL")


def _read_rows(table: IO[bytes], url: str) -> Iterator[bytes]:
    """Yield the rows that are not blank, unpacked if the first bytes say that they are gzip."""
    is_packed = table.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    table.seek(0)
    lines = gzip.GzipFile(fileobj=table) if is_packed else table
    try:
        for line in iter(partial(lines.readline, MAX_ROW_BYTES), b""):
            if line.strip():
                yield line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadIndexError(f"{url} is damaged ({error}); fetch it again") from error
