"""Output of commands: tables and notes for people, JSON for programs."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

WIDE = 1000
"""Wider than any table, so that rich neither wraps nor truncates one."""

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def note(message: str) -> None:
    """Print a message that is not part of the result, on standard error."""
    err.print(message, style="dim", markup=False, soft_wrap=True)


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
        table.add_column(header, justify="right" if numeric and rows else "left")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    wide = Console(width=WIDE, highlight=False, force_terminal=out.is_terminal)
    wide.print(table, soft_wrap=True)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return str(value).replace("[", r"\[")


def _encode(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")
