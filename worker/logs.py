"""The service's log: one line per event on standard error, with run, chunk and product if known."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from textwrap import indent
from typing import Literal

from mernet.printable import printable, printable_lines

LogFormat = Literal["text", "json"]

ROUTINE_TASKS = ("mernet.probe",)
"""Tasks that run every minute or more often."""

LONGEST_MESSAGE, LONGEST_TRACEBACK = 2_000, 20_000
"""Characters; what is longer is cut, since a message may quote what an archive sent."""

INDENT = "    "
"""Before each line of a traceback, so that no text in an error looks like a line of the log."""

EMPTY: Mapping[str, object] = {}
_context = ContextVar("context", default=EMPTY)


@contextmanager
def log_context(**fields: object) -> Iterator[None]:
    """Add fields such as run, chunk or product to every line that this thread logs in the block."""
    token = _context.set({**_context.get(), **fields})
    try:
        yield
    finally:
        _context.reset(token)


def set_log_context(**fields: object) -> None:
    """Replace the fields in all further lines of this thread; without `fields` remove them."""
    _context.set(fields)


class TextLines(logging.Formatter):
    """Formats lines for people: time in UTC, level, logger, key=value fields, message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; a traceback follows on further lines, which are indented."""
        fields = "".join(f" {key}={printable(value)}" for key, value in _context.get().items())
        message = printable(record.getMessage(), LONGEST_MESSAGE)
        line = f"{_time(record)} {record.levelname} {record.name}{fields}: {message}"
        if not record.exc_info:
            return line
        traceback = printable_lines(self.formatException(record.exc_info), LONGEST_TRACEBACK)
        return f"{line}\n{indent(traceback, INDENT, lambda _: True)}"


class JsonLines(logging.Formatter):
    """Formats lines for programs: a JSON object with time, level, logger, message and fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; a traceback is the value of its key `error`."""
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            **_context.get(),
            "message": printable(record.getMessage(), LONGEST_MESSAGE),
        }
        if record.exc_info:
            line["error"] = printable_lines(
                self.formatException(record.exc_info), LONGEST_TRACEBACK
            )
        return json.dumps(line, default=printable)


def configure(level: int | str, form: LogFormat) -> None:
    """Send all lines of this process at `level` or above to standard error in one format."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    handler.addFilter(_is_worth_logging)
    logging.basicConfig(level=level, handlers=[handler], force=True)


def _is_worth_logging(record: logging.LogRecord) -> bool:
    """Return False for Celery's own lines about the start and success of a routine task.

    Celery's lines about tasks have an attribute `data`, whose `name` is the task's.
    """
    if record.levelno > logging.INFO or not record.name.startswith("celery."):
        return True
    return getattr(record, "data", EMPTY).get("name") not in ROUTINE_TASKS


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
