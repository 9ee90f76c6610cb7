"""Text files of learning: read with an error that says what to do, written whole or not at all."""

import csv
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from mernet.model.errors import DataSetError

SHOWN = 5
"""How many problems an error names; the rest are counted."""


@dataclass(slots=True)
class Problems:
    """What is wrong in text files, line by line, to be raised as one error."""

    found: list[str] = field(default_factory=list)

    def add(self, file: Path, line: int, reason: str) -> None:
        """Keep a problem of one line, counted from 1."""
        self.found.append(f"{file}:{line}: {reason}")

    def raise_any(self) -> None:
        """Raise DataSetError with the first few problems and the number of all, if any."""
        if not self.found:
            return
        more = len(self.found) - SHOWN
        ending = f"; and {more} more, {len(self.found)} in all" if more > 0 else ""
        raise DataSetError("; ".join(self.found[:SHOWN]) + ending)


def read_text(path: Path) -> str:
    """A UTF-8 file's text, without a byte order mark.

    Raises DataSetError where it cannot be read, is empty or is no UTF-8 text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataSetError(f"{path}: cannot be read ({error.strerror}); give another") from error
    except UnicodeDecodeError as error:
        raise DataSetError(f"{path}: is no UTF-8 text; convert it") from error
    if not re.search(r"\w", text) or "\0" in text:
        raise DataSetError(f"{path}: is empty or no text; give another")
    return text


def read_csv(path: Path, separator: str = ",") -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file that are not blank, each with the number of its last line (from 1).

    Cells have no blanks around them. Raises DataSetError as read_text does, and with file and line
    where quotes do not fit.
    """
    text = StringIO(read_text(path), newline="")
    reader = csv.reader(text, delimiter=separator, skipinitialspace=True, strict=True)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise DataSetError(f"{path}:{reader.line_num}: {error}; correct the line") from error


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file, whole or not at all; a file of that name is replaced."""
    text = StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file beside its place, in a folder made if need be, and move it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(text, encoding="utf-8", newline="")
    os.replace(unfinished, path)
