"""Reads a label file, in any supported layout: which image shows which classes."""

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mernet.model.training.data.class_list import ClassList, normalise_word
from mernet.model.training.data.data_set import Part
from mernet.model.training.text_files import Problems, read_csv, read_text
from mernet.printable import printable

# In the form of `normalise_word`; the first that a header has is used.
FILE_COLUMNS = (
    *("file", "fileid", "filename", "filepath", "path", "image", "imageid", "imagename"),
    *("imagefile", "productid", "product", "picture", "name", "id"),
)
LABEL_COLUMNS = ("labels", "label", "classes", "class", "codes", "code", "classid", "classids")
PART_COLUMNS = ("split", "part", "subset", "set")
SHARE_SUFFIX = "_share"
VOLUNTEERS = "volunteers"
PARTS = {
    **dict.fromkeys(("train", "training"), Part.TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev"), Part.VALIDATION),
    **dict.fromkeys(("test", "testing"), Part.TEST),
}
BINARY = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
ONE_HOT_LENGTH = 3
"""With this many zeros and ones, a line cannot list class numbers: one would be repeated."""

LONGEST_LIST = 10_000
"""Characters in a Python list of classes: the parser of a longer one may end the process."""

Rows = list[tuple[int, list[str]]]


@dataclass(frozen=True, slots=True)
class LabelRow:
    """The labels of one image: numbers, codes or names of classes, as written in the file."""

    line: int
    image: str
    words: tuple[str, ...]
    part: Part | None


@dataclass(frozen=True, slots=True)
class LabelFile:
    """The rows of a label file, and the names of its class columns if it has any."""

    path: Path
    rows: tuple[LabelRow, ...]
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _HeaderLayout:
    """A layout with a header: the columns of image, part, list of labels, or classes."""

    length: int
    image: int
    part: int | None
    labels: int | None
    classes: Mapping[int, str]

    def read(self, line: int, cells: list[str], known: ClassList) -> LabelRow:
        if len(cells) != self.length:
            raise ValueError(f"{len(cells)} cells, {self.length} expected as in the header")
        part = None if self.part is None else _parse_part(cells[self.part])
        if self.labels is not None:
            words = _split_list(cells[self.labels], known)
        else:
            words = tuple(
                name for column, name in self.classes.items() if _parse_binary(cells[column])
            )
        return LabelRow(line, cells[self.image], words, part)


@dataclass(frozen=True, slots=True)
class _BareLayout:
    """A layout without a header: a file name, then zeros and ones for all classes, or classes."""

    one_hot: bool
    separator: str

    def read(self, line: int, cells: list[str], known: ClassList) -> LabelRow:
        image, *rest = cells
        if not rest:
            raise ValueError("no class follows the file name")
        if self.one_hot:
            words = _parse_one_hot(rest, known)
        else:
            words = _split_list(self.separator.join(rest), known)
        return LabelRow(line, image, words, None)


def read_label_file(path: Path, known: ClassList, problems: Problems) -> LabelFile:
    """Read a label file.

    Cells are separated by tabs, commas, semicolons or spaces. With a header, the file has a column
    of file names and either one column of lists of classes or one column of zeros and ones for
    each class; it may have a column of parts. Without a header, a row has the file name, then as
    many zeros and ones as there are classes, or a list of classes.

    Args:
        path: The label file.
        known: The classes that a row without a header may name.
        problems: Receives what is wrong with single lines.

    Returns:
        The rows. A row that names no part belongs to the part that the file is named after, see
        `part_from_file_name`.

    Raises:
        DataSetError: The file is not such a text file.
    """
    rows, separator = _split_rows(path)
    header = _parse_header(rows, known)
    layout = header or _BareLayout(_is_one_hot(rows), separator)
    part = part_from_file_name(path)
    found = []
    for line, cells in rows[1:] if header else rows:
        try:
            row = layout.read(line, cells, known)
            found.append(replace(row, part=row.part or part))
        except ValueError as error:
            problems.add(path, line, str(error))
    if header and header.labels is None and not header.classes:
        problems.add(
            path, 1, "no column contains classes; name one 'labels', or one after each class"
        )
    return LabelFile(path, tuple(found), tuple(header.classes.values()) if header else ())


def part_from_file_name(path: Path) -> Part | None:
    """Return the part that a label file is named after, such as train.txt, val-shuffled.txt."""
    return PARTS.get(re.split(r"[-_. ]", path.name.lower())[0])


def _split_rows(path: Path) -> tuple[Rows, str]:
    """Return the rows of a file with their line numbers, and the separator of their cells."""
    lines = read_text(path).splitlines()
    first = next(line for line in lines if line.strip())
    found = re.search(r"[\s,;]" if path.suffix.lower() == ".txt" else r"[\t,;]", first)
    if found is None or found[0] == " ":
        return [(line, text.split()) for line, text in enumerate(lines, 1) if text.strip()], " "
    return list(read_csv(path, found[0])), found[0]


def _parse_header(rows: Rows, known: ClassList) -> _HeaderLayout | None:
    """Return the layout that the first row describes; None if it describes an image."""
    names = [normalise_word(cell) for cell in rows[0][1]]
    image = _find_column(names, FILE_COLUMNS)
    if image is None:
        return None
    part, labels = _find_column(names, PART_COLUMNS), _find_column(names, LABEL_COLUMNS)
    classes = {
        column: name
        for column, name in enumerate(rows[0][1])
        if labels is None
        and column not in (image, part)
        and not (name.endswith(SHARE_SUFFIX) or names[column] in ("", VOLUNTEERS))
        and (known.index_of(name) is not None or _is_mostly_binary(rows[1:], column))
    }
    return _HeaderLayout(len(names), image, part, labels, classes)


def _find_column(names: Sequence[str], wanted: Sequence[str]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)


def _is_mostly_binary(rows: Rows, column: int) -> bool:
    """Whether a column is a class; the few other values in it are then mistakes."""
    binary = [len(cells) > column and cells[column].lower() in BINARY for _, cells in rows]
    return sum(binary) > len(rows) / 2


def _is_one_hot(rows: Rows) -> bool:
    """Whether rows without a header contain zeros and ones rather than class numbers."""
    values = [cells[1:] for _, cells in rows]
    return any(len(each) >= ONE_HOT_LENGTH and set(each) <= {"0", "1"} for each in values)


def _parse_one_hot(values: Sequence[str], known: ClassList) -> tuple[str, ...]:
    if len(values) != len(known.codes):
        raise ValueError(f"{len(values)} values, {len(known.codes)} expected: one for each class")
    return tuple(c for c, value in zip(known.codes, values, strict=True) if _parse_binary(value))


def _parse_binary(value: str) -> bool:
    if value.lower() not in BINARY:
        raise ValueError(f"'{printable(value, 60)}' is not 0 or 1")
    return BINARY[value.lower()]


def _split_list(text: str, known: ClassList) -> tuple[str, ...]:
    """Split a list: a Python list, or words separated by comma, semicolon, | or spaces."""
    if text.startswith(("[", "(")):
        try:
            if len(text) > LONGEST_LIST:
                raise ValueError("too long")
            items = ast.literal_eval(text)
            if not all(isinstance(item, str | int | float) for item in items):
                raise ValueError("an item is no class")
            return tuple(str(item) for item in items)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
            raise ValueError(f"'{printable(text, 60)}' is not a list of classes") from error
    words = [word.strip() for word in re.split(r"[,;|\t]", text)]
    split = [[word] if known.index_of(word) is not None else word.split() for word in words]
    return tuple(word for each in split for word in each)


def _parse_part(text: str) -> Part | None:
    if normalise_word(text) not in ("", *PARTS):
        raise ValueError(f"'{printable(text, 60)}' is not a part; use train, val or test")
    return PARTS.get(normalise_word(text))
