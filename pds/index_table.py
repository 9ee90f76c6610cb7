"""List PDS3 index tables: a label describes the columns, each row of the table is one product."""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import IO
from urllib.parse import quote, urljoin

from mernet.pds import pds3
from mernet.pds.archive import Archive, ArchiveKind
from mernet.pds.completeness import CompletenessCheck
from mernet.pds.errors import (
    BadIndexError,
    DecodeError,
    ForbiddenError,
    NotAFileError,
    NotFoundError,
    TooLargeError,
    TruncatedError,
    UnavailableFileError,
)
from mernet.pds.fetch import FileSource
from mernet.pds.index_label import MAX_LABEL_BYTES, TableShape, parse_label
from mernet.pds.index_places import Places
from mernet.pds.label import (
    UNKNOWN,
    counter_or_none,
    solar_time_or_none,
    time_or_none,
    whole_or_none,
)
from mernet.pds.label_batches import Unread, read_labels
from mernet.pds.product import Product, ProductName
from mernet.pds.selection import LeftOut, LeftOutReason, Selection
from mernet.pds.table_rows import FILLING, LINE_END, FieldReader, read_rows, value_of
from mernet.printable import printable

LOCATION = ("PATH_NAME", "FILE_NAME")
SPECIFICATION = "FILE_SPECIFICATION_NAME"  # path and name in one, in other missions' indexes
SIZE = ("LINES", "LINE_SAMPLES")
INDEXES = {
    "edr": ("edrindex.lbl",),
    "rdr": ("rdrindex.lbl",),
    "any": ("edrindex.lbl", "rdrindex.lbl"),
}
UNKNOWN_PLACES = UNKNOWN - {""}
# What archives write where a size is not known, besides UNKNOWN.
NO_SIZE = UNKNOWN | {"-", "--", "?", "NA", "NAN", "NONE", "NIL", "TBD", "UNKNOWN", "NOT AVAILABLE",
                     "NOT APPLICABLE"}  # fmt: skip
INDEX_FOLDERS = ("index", "INDEX")
# How much of a product is read for its label: nearly always the first suffices.
LABEL_BYTES = (64 * 1024, pds3.MAX_LABEL_BYTES)


def read_index(
    archive: Archive,
    selection: Selection,
    fetcher: FileSource,
    completeness: CompletenessCheck,
) -> Iterator[Product | LeftOut]:
    """Yield every row of an archive's index tables, in order, as a product or as left out.

    Raises:
        BadIndexError: A table is not usable at all, or ends before its label says.
        FetchError: A table or label cannot be fetched.
    """
    if archive.kind is ArchiveKind.VOLUME:
        for urls in volume_labels(archive.url, selection.products):
            yield from _read_table(urls, None, archive, selection, fetcher, completeness)
    elif archive.url.lower().endswith(".lbl"):
        yield from _read_table([archive.url], None, archive, selection, fetcher, completeness)
    else:
        labels = _labels_beside(archive.url)
        yield from _read_table(labels, archive.url, archive, selection, fetcher, completeness)


def volume_labels(volume_url: str, products: str) -> list[list[str]]:
    """Return the possible URLs of each index label of a volume for a kind of products."""
    return [
        [
            urljoin(volume_url, f"{folder}/{name}")
            for folder in INDEX_FOLDERS
            for name in (label_name, label_name.upper())
        ]
        for label_name in INDEXES[products]
    ]


def _read_table(
    label_urls: Sequence[str],
    table_url: str | None,
    archive: Archive,
    selection: Selection,
    fetcher: FileSource,
    completeness: CompletenessCheck,
) -> Iterator[Product | LeftOut]:
    """Yield the rows of one table; without its URL, the label names its file."""
    with ExitStack() as stack:
        label, label_url = _open_first(label_urls, fetcher, stack)
        shape = parse_label(label.read(MAX_LABEL_BYTES + 1), label_url)
        reader = RowReader(shape, Places(label_url, bool(archive.mirror)), selection)
        _check_columns(shape, label_url)
        urls = [table_url] if table_url else _table_urls(label_url, shape.table_name)
        table, url = _open_first(urls, fetcher, stack)

        def read_size(row: UnsizedRow) -> Product | LeftOut:
            return _read_size(row, reader, fetcher)

        def all_lost(lost: LeftOut) -> BadIndexError:
            return BadIndexError(
                f"{label_url} describes a table without LINES and LINE_SAMPLES, and the label of "
                f"none of its products could be read, such as {lost.name} ({lost.reason}); "
                "check where the products are"
            )

        def entries() -> Iterator[Unread["UnsizedRow"] | Product | LeftOut]:
            for number, row in enumerate(read_rows(table, shape, url), start=1):
                yield reader.read(row, number)

        yield from read_labels(entries(), read_size, fetcher.connections_per_host, all_lost)
        _check_rows(reader, url)
        completeness.compare(url, reader.last_readable, shape.rows)


def _check_columns(shape: TableShape, label_url: str) -> None:
    """Raise BadIndexError for a table without the columns that say where products are."""
    missing = [column for column in LOCATION if column not in shape.first_field]
    if missing and SPECIFICATION not in shape.first_field:
        raise BadIndexError(
            f"{label_url} describes a table without {', '.join(missing)}, so its products have "
            "no known location; give the index of an operations volume"
        )


def _check_rows(reader: "RowReader", url: str) -> None:
    """Raise BadIndexError for a table none of whose rows, or wanted rows, could be used."""
    if not reader.readable:
        raise BadIndexError(
            f"{url} has no row of {reader.shape.fields} fields, as its label describes; "
            "check that label and table belong together"
        )
    if reader.readable == reader.unnamed:
        raise BadIndexError(
            f"None of the {reader.readable} rows of {url} has the name of a MER product; "
            "check that label and table belong together"
        )
    if reader.unplaced and not reader.placed:
        raise BadIndexError(
            f"None of the {reader.unplaced} wanted rows of {url} says where its file is; "
            "check its columns PATH_NAME and FILE_NAME"
        )
    if reader.without_size and not reader.with_size:
        raise BadIndexError(
            f"None of the {reader.without_size} wanted rows of {url} has a size in LINES and "
            "LINE_SAMPLES; give an index that has sizes"
        )


@dataclass(frozen=True, slots=True)
class UnsizedRow:
    """A wanted row of a table without sizes."""

    name: ProductName
    file_name: str
    image_url: str
    fields: list[str]


@dataclass(slots=True)
class RowReader:
    """Turns the rows of a table into products.

    Attributes:
        readable: How many rows had the fields that the label describes.
        last_readable: The number of the last of these that is not cut.
        unnamed: How many of these had no product's name.
        placed: How many wanted rows say where their file is; `unplaced` how many do not.
        with_size: How many wanted rows had a size; `without_size` how many had none.
    """

    shape: TableShape
    places: Places
    selection: Selection
    readable: int = 0
    last_readable: int = 0
    unnamed: int = 0
    placed: int = 0
    unplaced: int = 0
    with_size: int = 0
    without_size: int = 0
    _fields: FieldReader = field(init=False)
    _has_location: bool = field(init=False)
    _has_size: bool = field(init=False)
    _lengths: set[int] = field(default_factory=set)  # of the rows so far; two are enough to know

    def __post_init__(self) -> None:
        self._fields = FieldReader(self.shape)
        self._has_location = set(LOCATION) <= set(self.shape.first_field)
        self._has_size = set(SIZE) <= set(self.shape.first_field)

    def read(self, row: bytes, number: int) -> Unread[UnsizedRow] | Product | LeftOut:
        """Return the product that a row lists, or the reason why it is left out.

        A last row without an end is cut if it is shorter than the others, which are of one length,
        or if its size, which is mostly at the end, is none that an archive has.
        """
        text = row.rstrip(LINE_END)
        is_ended = len(text) < len(row)
        fields = self._fields.fields(text)
        if fields is None:
            return LeftOut(f"row {number}", LeftOutReason.UNREADABLE_ROW)
        self.readable += 1
        entry = self._read_fields(fields)
        if is_ended:
            self._note_length(text)
        elif self._is_shorter(text) or _has_other_size(entry):
            return LeftOut(self._file_name(fields), LeftOutReason.UNREADABLE_ROW)
        self.last_readable = number
        return entry

    def _note_length(self, text: bytes) -> None:
        if len(self._lengths) < 2:
            self._lengths.add(len(text))

    def _is_shorter(self, text: bytes) -> bool:
        """Return whether a row is shorter than all before it, which are of one length."""
        return len(self._lengths) == 1 and len(text.rstrip(FILLING)) < min(self._lengths)

    def _read_fields(self, fields: list[str]) -> Unread[UnsizedRow] | Product | LeftOut:
        """Return the product that the fields of a row describe, or the reason to leave it out.

        The name is checked first, because it alone decides about nearly all rows.
        """
        file_name = self._file_name(fields)
        name = self.selection.wanted_name(file_name)
        if isinstance(name, LeftOut):
            self.unnamed += name.reason is LeftOutReason.UNREADABLE_NAME
            return name
        path_name = self._path_name(fields)
        image_url = self.places.image_url(path_name, file_name)
        if image_url is None or path_name.upper() in UNKNOWN_PLACES:
            self.unplaced += 1
            return LeftOut(file_name, LeftOutReason.UNREADABLE_ROW)
        self.placed += 1
        wanted = UnsizedRow(name, file_name, image_url, fields)
        if not self._has_size:
            return Unread(wanted)
        return self._sized_by_row(wanted)

    def product(self, row: UnsizedRow, lines: int, line_samples: int) -> Product | LeftOut:
        """Return the product of a wanted row of a size, or left out for the size."""
        reason = self.selection.reason_against_size(lines, line_samples)
        if reason:
            return LeftOut(row.file_name, reason)
        name = row.name
        site, drive = (self._text(row.fields, "ROVER_MOTION_COUNTER", item) for item in (0, 1))
        return Product(
            name=name,
            image_url=row.image_url,
            label_url=None,
            browse_url=self.places.browse_url(row.image_url),
            lines=lines,
            line_samples=line_samples,
            sol=counter_or_none(self._text(row.fields, "PLANET_DAY_NUMBER")),
            site=counter_or_none(site) if name.site is None else name.site,
            drive=counter_or_none(drive) if name.drive is None else name.drive,
            start_time=time_or_none(self._text(row.fields, "START_TIME")),
            local_solar_time=solar_time_or_none(self._text(row.fields, "LOCAL_TRUE_SOLAR_TIME")),
        )

    def _sized_by_row(self, row: UnsizedRow) -> Product | LeftOut:
        """Return the product of a row with its size, or left out without one."""
        texts = [self._text(row.fields, column) for column in SIZE]
        sizes = [whole_or_none(text) for text in texts]
        lines, line_samples = sizes
        if lines is None or line_samples is None or lines < 1 or line_samples < 1:
            self.without_size += 1
            damaged = any(
                size is None and text.upper() not in NO_SIZE
                for size, text in zip(sizes, texts, strict=True)
            )
            reason = LeftOutReason.UNREADABLE_ROW if damaged else LeftOutReason.SIZE_NOT_AVAILABLE
            return LeftOut(row.file_name, reason)
        self.with_size += 1
        return self.product(row, lines, line_samples)

    def _file_name(self, fields: list[str]) -> str:
        """Return the name of a row's file."""
        if self._has_location:
            return self._text(fields, LOCATION[1])
        return self._specification(fields)[1]

    def _path_name(self, fields: list[str]) -> str:
        """Return the folder of a row's file."""
        if self._has_location:
            return self._text(fields, LOCATION[0])
        return self._specification(fields)[0]

    def _specification(self, fields: list[str]) -> tuple[str, str]:
        """Return the folder and the name of a row's file, which are in one column."""
        place = self._text(fields, SPECIFICATION).replace("\\", "/")
        folder, _, file_name = place.rpartition("/")
        return folder, file_name

    def _text(self, fields: list[str], column: str, item: int = 0) -> str:
        """Return a field's value, empty without such a column."""
        position = self.shape.first_field.get(column)
        if position is None or position + item >= self.shape.fields:
            return ""
        return value_of(fields[position + item])


def _has_other_size(entry: Unread[UnsizedRow] | Product | LeftOut) -> bool:
    return isinstance(entry, LeftOut) and entry.reason is LeftOutReason.NOT_HIGH_RESOLUTION


def _read_size(row: UnsizedRow, reader: RowReader, fetcher: FileSource) -> Product | LeftOut:
    """Return the product of a row whose size is in its own label; only the label is fetched."""
    url = reader.places.url_to_read(row.image_url)
    try:
        for number_of_bytes in LABEL_BYTES:
            head = fetcher.fetch_start(url, number_of_bytes)
            try:
                facts = pds3.read_label(head, row.file_name)
            except TruncatedError:
                if len(head) < number_of_bytes:
                    raise
                continue
            return reader.product(row, facts.lines, facts.line_samples)
    except NotFoundError:
        return LeftOut(row.file_name, LeftOutReason.LABEL_NOT_FOUND)
    except (DecodeError, NotAFileError, TooLargeError, UnavailableFileError):
        pass
    return LeftOut(row.file_name, LeftOutReason.UNREADABLE_LABEL)


def _labels_beside(table_url: str) -> list[str]:
    """Return possible URLs of a table's label: the same name with .lbl, first in the same case."""
    stem = re.sub(r"\.gz$", "", table_url, flags=re.IGNORECASE)[:-4]
    suffixes = [".LBL", ".lbl"] if ".TAB" in table_url[len(stem) :] else [".lbl", ".LBL"]
    return [stem + suffix for suffix in suffixes]


def _table_urls(label_url: str, table_name: str) -> list[str]:
    """Return possible URLs of a table: labels write its name in upper case, servers often lower."""
    lower = table_name.lower()
    names = dict.fromkeys((table_name, lower, table_name.upper(), f"{lower}.gz"))
    return [urljoin(label_url, quote(name)) for name in names]


def _open_first(
    urls: Sequence[str], fetcher: FileSource, stack: ExitStack
) -> tuple[IO[bytes], str]:
    """Open the first of the files that exists and is served, until the stack closes.

    A server may refuse a name in one case, or answer it with a web page, and have the file in the
    other.
    """
    refused: ForbiddenError | NotAFileError | None = None
    missing: NotFoundError | None = None
    for url in urls:
        try:
            return stack.enter_context(fetcher.open(url)), url
        except NotFoundError as error:
            missing = error
        except (ForbiddenError, NotAFileError) as error:
            refused = refused or error
    if refused:
        raise refused
    if missing and len(urls) == 1:
        raise missing
    raise NotFoundError(
        f"None of {printable(', '.join(urls), 1000)} exists; check the archive's base URL"
    )
