"""Output of commands: tables and notes for people, JSON for programs."""

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mernet.printable import csv_cell, printable, printable_lines

WIDE = 1000
"""Wider than any table, so that rich neither wraps nor truncates one."""

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def note(message: str) -> None:
    """Print a message that is not part of the result, on standard error."""
    _print(err, message, "dim")


def say(message: object = "", style: str = "") -> None:
    """Print a part of the result on standard output; nothing in it is markup or a control."""
    _print(out, message, style)


def complain(message: str) -> None:
    """Print an error on standard error."""
    _print(err, message, "bold red")


def print_json(value: Any) -> None:
    """Print `value` as JSON; times in ISO 8601."""
    typer.echo(json.dumps(value, indent=2, default=_encode))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under their headers, numbers aligned to the right.

    The terminal wraps lines that are too long, so that names and URLs can be copied whole.
    """
    table = Table(box=None, header_style="bold", pad_edge=False)
    for position, header in enumerate(headers):
        numeric = all(isinstance(row[position], int | float | None) for row in rows)
        table.add_column(Text(printable(header)), justify="right" if numeric and rows else "left")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    wide = Console(width=WIDE, highlight=False, force_terminal=out.is_terminal)
    wide.print(table, soft_wrap=True)


def print_csv(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> None:
    """Print rows as CSV under their column names; no cell begins like a formula."""
    writer = csv.writer(sys.stdout)
    writer.writerow([_csv_cell(column) for column in columns])
    for row in rows:
        writer.writerow([_csv_cell(row[column]) for column in columns])


def _print(console: Console, message: object, style: str) -> None:
    """Print text as it is: a `Text` has no markup, and an escaped character moves no cursor."""
    console.print(Text(printable_lines(message), style), soft_wrap=True)


def _csv_cell(value: object) -> object:
    return csv_cell(printable(value, None) if isinstance(value, str) else value)


def _cell(value: object) -> Text:
    """Return the text of a cell: never cut, since names and URLs are copied from it."""
    if value is None:
        return Text("-")
    if isinstance(value, float):
        return Text(f"{value:.3f}")
    if isinstance(value, datetime):
        return Text(f"{value:%Y-%m-%d %H:%M:%S}")
    return Text(printable(value, None))


def _encode(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")
