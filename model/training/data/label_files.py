"""One label file, in any of the known layouts: which image shows which classes."""

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mernet.model.training.data.class_list import ClassList, normalise_word
from mernet.model.training.data.data_set import Part
from mernet.model.training.text_files import Problems, read_csv, read_text

# As `normalise_word` writes them; the first that a header has is taken.
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
"""From this many zeros and ones on, a line is no list of class numbers: one would come twice."""

Rows = list[tuple[int, list[str]]]


@dataclass(frozen=True, slots=True)
class LabelRow:
    """An image's labels: numbers, codes or names of classes, as they are written."""

    line: int
    image: str
    words: tuple[str, ...]
    part: Part | None


@dataclass(frozen=True, slots=True)
class LabelFile:
    """A label file's rows, and its class columns where its header names them."""

    path: Path
    rows: tuple[LabelRow, ...]
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Headed:
    """Where in a row things are: (from 0) the image, its part, its list of labels, its classes."""

    length: int
    image: int
    part: int | None
    labels: int | None
    classes: Mapping[int, str]

    def read(self, line: int, cells: list[str], known: ClassList) -> LabelRow:
        if len(cells) != self.length:
            raise ValueError(f"{len(cells)} cells, {self.length} expected as in the header")
        part = None if self.part is None else _part(cells[self.part])
        if self.labels is not None:
            words = _listed(cells[self.labels], known)
        else:
            words = tuple(name for at, name in self.classes.items() if _binary(cells[at]))
        return LabelRow(line, cells[self.image], words, part)


@dataclass(frozen=True, slots=True)
class _Bare:
    """Rows of a file name and what it shows: zeros and ones for all classes, or classes."""

    one_hot: bool
    separator: str

    def read(self, line: int, cells: list[str], known: ClassList) -> LabelRow:
        image, *rest = cells
        if not rest:
            raise ValueError("no class follows the file name")
        text = self.separator.join(rest)
        return LabelRow(
            line, image, _one_hot(rest, known) if self.one_hot else _listed(text, known), None
        )


def read_label_file(path: Path, known: ClassList, problems: Problems) -> LabelFile:
    """Read a label file; what is wrong in its lines goes to `problems`.

    Cells are separated by tab, comma, semicolon or blanks. With a header: a column of file names
    and either one of lists of classes or one of zeros and ones for each class; a column of parts
    may stand beside. Without: the file name, then as many zeros and ones as `known` has classes, or
    classes. A row that names no part is in the one that the file is called after, see
    `part_from_file_name`. Raises DataSetError where the file is no such text.
    """
    rows, separator = _rows(path)
    header = _header(rows, known)
    layout = header or _Bare(_is_one_hot(rows), separator)
    part = part_from_file_name(path)
    found = []
    for line, cells in rows[1:] if header else rows:
        try:
            row = layout.read(line, cells, known)
            found.append(replace(row, part=row.part or part))
        except ValueError as error:
            problems.add(path, line, str(error))
    if header and header.labels is None and not header.classes:
        problems.add(path, 1, "no column holds classes; call one 'labels', or one after each class")
    return LabelFile(path, tuple(found), tuple(header.classes.values()) if header else ())


def part_from_file_name(path: Path) -> Part | None:
    """The part that a label file is called after, as train.txt and val-shuffled.txt are."""
    return PARTS.get(re.split(r"[-_. ]", path.name.lower())[0])


def _rows(path: Path) -> tuple[Rows, str]:
    """The rows of a file with their line numbers, and what separates their cells."""
    lines = read_text(path).splitlines()
    first = next(line for line in lines if line.strip())
    found = re.search(r"[\s,;]" if path.suffix.lower() == ".txt" else r"[\t,;]", first)
    if found is None or found[0] == " ":
        return [(line, text.split()) for line, text in enumerate(lines, 1) if text.strip()], " "
    return list(read_csv(path, found[0])), found[0]


def _header(rows: Rows, known: ClassList) -> _Headed | None:
    """What the first row says of the columns, None where it is an image's."""
    names = [normalise_word(cell) for cell in rows[0][1]]
    image = _column(names, FILE_COLUMNS)
    if image is None:
        return None
    part, labels = _column(names, PART_COLUMNS), _column(names, LABEL_COLUMNS)
    classes = {
        column: name
        for column, name in enumerate(rows[0][1])
        if labels is None
        and column not in (image, part)
        and not (name.endswith(SHARE_SUFFIX) or names[column] in ("", VOLUNTEERS))
        and (known.place(name) is not None or _is_mostly_binary(rows[1:], column))
    }
    return _Headed(len(names), image, part, labels, classes)


def _column(names: Sequence[str], wanted: Sequence[str]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)


def _is_mostly_binary(rows: Rows, column: int) -> bool:
    """Whether a column tells of a class; the few other values in it are then mistakes."""
    binary = [len(cells) > column and cells[column].lower() in BINARY for _, cells in rows]
    return sum(binary) > len(rows) / 2


def _is_one_hot(rows: Rows) -> bool:
    """Whether rows without a header hold zeros and ones, rather than numbers of classes."""
    values = [cells[1:] for _, cells in rows]
    return any(len(each) >= ONE_HOT_LENGTH and set(each) <= {"0", "1"} for each in values)


def _one_hot(values: Sequence[str], known: ClassList) -> tuple[str, ...]:
    if len(values) != len(known.codes):
        raise ValueError(f"{len(values)} values, {len(known.codes)} expected: one for each class")
    return tuple(c for c, value in zip(known.codes, values, strict=True) if _binary(value))


def _binary(value: str) -> bool:
    if value.lower() not in BINARY:
        raise ValueError(f"{value!r} stands where 0 or 1 belongs")
    return BINARY[value.lower()]


def _listed(text: str, known: ClassList) -> tuple[str, ...]:
    """The words of a list: a Python list, or separated by comma, semicolon, | or blanks."""
    if text.startswith(("[", "(")):
        try:
            return tuple(str(item) for item in ast.literal_eval(text))
        except (ValueError, SyntaxError, TypeError) as error:
            raise ValueError(f"{text!r} is no list of classes") from error
    words = [word.strip() for word in re.split(r"[,;|\t]", text)]
    split = [[word] if known.place(word) is not None else word.split() for word in words]
    return tuple(word for each in split for word in each)


def _part(text: str) -> Part | None:
    if normalise_word(text) not in ("", *PARTS):
        raise ValueError(f"{text!r} is no part; use train, val or test")
    return PARTS.get(normalise_word(text))
