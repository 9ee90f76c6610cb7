"""Output of commands: tables and sentences for people, JSON and CSV for programs."""

import csv
import json
import sys
import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from mernet.printable import csv_cell, printable, printable_lines

GAP = " "
"""What separates two columns."""

BELOW = "    "
"""What indents the columns that are written below a row."""

NARROWEST_TEXT = 20
"""The last column is not wrapped to fewer characters; it is written below each row instead."""

UNITS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
"""Units of time, with their seconds."""

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")]


def note(message: str) -> None:
    """Print a message that is not part of the result, on standard error."""
    _print(err, message, "dim")


def say(message: object = "", style: str = "") -> None:
    """Print a part of the result on standard output; nothing in it is markup or a control."""
    _print(out, message, style)


def complain(message: str) -> None:
    """Print an error on standard error."""
    _print(err, message, "bold red")


def check_one_format(as_csv: bool, as_json: bool) -> None:
    """Refuse two formats at once.

    Raises:
        typer.BadParameter: Both are asked for.
    """
    if as_csv and as_json:
        raise typer.BadParameter("--csv and --json exclude each other; give one of them.")


def print_json(value: Any) -> None:
    """Print `value` as JSON; times in ISO 8601."""
    typer.echo(json.dumps(value, indent=2, default=_encode))


def print_csv(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> None:
    """Print rows as CSV under their column names; no cell begins like a formula."""
    writer = csv.writer(sys.stdout)
    writer.writerow([_csv_cell(column) for column in columns])
    for row in rows:
        writer.writerow([_csv_cell(row[column]) for column in columns])


def print_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under their headers, numbers aligned to the right.

    No cell is cut or broken inside a word. On a terminal, the last column is wrapped between words,
    and the columns that do not fit beside the others, the last first, are written below each row.
    Elsewhere a row is one line of any length.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    headers = [printable(header) for header in headers]
    columns = list(zip(headers, *cells, strict=True))
    numeric = [_is_numeric(values) for values in zip(*rows, strict=True)] or [False] * len(headers)
    widths = [max(map(cell_len, column)) for column in columns]
    limit = out.width if out.is_terminal else None
    beside = _count_beside(widths, cells, limit)
    if limit is not None and beside == len(headers):
        widths[-1] = min(widths[-1], limit - _total(widths[:-1]) - len(GAP))
    _print_line(headers[:beside], widths[:beside], numeric[:beside], "bold")
    for row in cells:
        _print_row(row[:beside], widths[:beside], numeric[:beside])
        _print_below(headers[beside:], row[beside:], limit)


def in_words(seconds: float) -> str:
    """Return a duration in its two largest units, such as "2 h 5 min"."""
    left = round(seconds)
    parts: list[tuple[str, int]] = []
    for unit, size in UNITS:
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append((f"{count} {unit}", size))
    largest = parts[0][1]
    return " ".join(part for part, size in parts[:2] if size * 60 >= largest)


def moment(value: datetime) -> str:
    """Return a time in UTC, to the second."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _count_beside(widths: Sequence[int], cells: Sequence[Sequence[str]], limit: int | None) -> int:
    """Return how many columns fit beside each other in lines of `limit` characters."""
    if limit is None:
        return len(widths)
    if _total(widths) <= limit:
        return len(widths)
    room = limit - _total(widths[:-1]) - len(GAP)
    longest_word = max((cell_len(word) for row in cells for word in row[-1].split()), default=0)
    if room >= max(NARROWEST_TEXT, longest_word):
        return len(widths)
    fitting = (count for count in range(len(widths) - 1, 1, -1) if _total(widths[:count]) <= limit)
    return next(fitting, 1)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _print_row(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> None:
    """Print a row; a last cell that is wider than its column continues on the next line."""
    *others, last = cells
    lines = _wrap(last, max(1, widths[-1]))
    _print_line([*others, *(lines[:1] or [last])], widths, numeric)
    for line in lines[1:]:
        _print_line([*("" for _ in others), line], widths, numeric)


def _print_line(
    cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool], style: str = ""
) -> None:
    """Print cells in columns of these widths."""
    padded = (
        " " * (width - cell_len(cell)) + cell
        if right
        else set_cell_size(cell, max(width, cell_len(cell)))
        for cell, width, right in zip(cells, widths, numeric, strict=True)
    )
    _print_whole(GAP.join(padded).rstrip(), style)


def _print_below(headers: Sequence[str], cells: Sequence[str], limit: int | None) -> None:
    """Print the columns that do not fit beside the others below a row, each with its header."""
    for header, cell in zip(headers, cells, strict=True):
        for line in _wrap(cell, limit or len(cell), f"{BELOW}{header}: ", BELOW * 2):
            _print_whole(line)


def _wrap(text: str, width: int, first: str = "", others: str = "") -> list[str]:
    """Return the lines of a text, broken between words only; `first` and `others` indent them."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _print(console: Console, message: object, style: str) -> None:
    """Print text as it is, on a terminal wrapped between words, elsewhere in lines of any length.

    A word that is longer than a line, such as a URL, stays whole.
    """
    lines = printable_lines(message).split("\n")
    if console.is_terminal:
        lines = [part for line in lines for part in _wrap(line, console.width) or [""]]
    for line in lines:
        _print_whole(line, style, console)


def _print_whole(line: str, style: str = "", console: Console | None = None) -> None:
    """Print a line that may be longer than the terminal is wide; a `Text` has no markup."""
    (console or out).print(Text(line, style), soft_wrap=True)


def _is_numeric(values: Sequence[object]) -> bool:
    return bool(values) and all(isinstance(value, int | float | None) for value in values)


def _csv_cell(value: object) -> object:
    return csv_cell(printable(value, None) if isinstance(value, str) else value)


def _cell(value: object) -> str:
    """Return the text of a cell: never cut, since names and URLs are copied from it."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    return moment(value) if isinstance(value, datetime) else printable(value, None)


def _encode(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")
