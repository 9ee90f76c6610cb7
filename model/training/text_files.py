"""Reads text and CSV files with helpful errors, and writes them completely or not at all."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from mernet.atomic_file import replacing_file
from mernet.model.errors import DataSetError
from mernet.printable import csv_cell, from_csv_cell, printable

MAX_TEXT_BYTES = 2**28
MAX_PROBLEMS_SHOWN = 5
"""Number of problems in an error message; the rest are counted."""


@dataclass(slots=True)
class Problems:
    """What is wrong in text files, line by line, raised as one error."""

    found: list[str] = field(default_factory=list)

    def add(self, file: Path, line: int, reason: str) -> None:
        """Add a problem of one line, counted from 1."""
        self.found.append(f"{printable(file)}:{line}: {printable(reason)}")

    def raise_any(self) -> None:
        """Raise an error if there are problems.

        Raises:
            DataSetError: There are problems; the message has the first few and the number of all.
        """
        if not self.found:
            return
        more = len(self.found) - MAX_PROBLEMS_SHOWN
        ending = f"; and {more} more, {len(self.found)} in all" if more > 0 else ""
        raise DataSetError("; ".join(self.found[:MAX_PROBLEMS_SHOWN]) + ending)


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, without a byte order mark.

    Raises:
        DataSetError: The file cannot be read, is empty or is not UTF-8 text.
    """
    name = printable(path)
    try:
        if path.exists() and not path.is_file():
            raise DataSetError(f"{name}: is not a file; give the path of a file")
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise DataSetError(f"{name}: has more than {MAX_TEXT_BYTES} bytes; give another file")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeEncodeError) as error:
        problem = getattr(error, "strerror", None) or "no such path"
        raise DataSetError(f"{name}: cannot be read ({problem}); give another file") from error
    except UnicodeDecodeError as error:
        raise DataSetError(f"{name}: is not UTF-8 text; convert it") from error
    except ValueError as error:  # a NUL in it
        raise DataSetError(f"{name}: is not a path; give another file") from error
    if not re.search(r"\w", text) or "\0" in text:
        raise DataSetError(f"{name}: is empty or not text; give another file")
    return text


def read_csv(path: Path, separator: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Yield the non-blank rows of a CSV file, each with the number of its last line (from 1).

    Cells are stripped of surrounding spaces, and of the apostrophe that `write_csv` put in front.

    Raises:
        DataSetError: As in `read_text`; or quotes do not match, with file and line.
    """
    text = StringIO(read_text(path), newline="")
    reader = csv.reader(text, delimiter=separator, skipinitialspace=True, strict=True)
    try:
        for row in reader:
            cells = [from_csv_cell(cell.strip()) for cell in row]
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise DataSetError(
            f"{printable(path)}:{reader.line_num}: {printable(error)}; correct the line"
        ) from error


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file completely or not at all; an existing file is replaced.

    A cell that a spreadsheet program would take for a formula gets an apostrophe in front.
    """
    text = StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    for row in (header, *rows):
        writer.writerow([csv_cell(value) for value in row])
    write_text(path, text.getvalue())


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file completely or not at all; its folder is created if necessary."""
    with replacing_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8", newline="")
