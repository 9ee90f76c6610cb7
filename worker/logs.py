"""The service's log: a line an event, on standard error, with run, chunk, product where known."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

LogFormat = Literal["text", "json"]

ROUTINE = ("mernet.probe", "mernet.sweep")
"""Tasks that come by the minute; a sweep that did something says so itself."""

NOTHING: Mapping[str, object] = {}
_known = ContextVar("known", default=NOTHING)


@contextmanager
def about(**facts: object) -> Iterator[None]:
    """Every line that this thread logs in the block says these facts too: run, chunk, product."""
    token = _known.set({**_known.get(), **facts})
    try:
        yield
    finally:
        _known.reset(token)


def now_about(**facts: object) -> None:
    """From here on every line that this thread logs says these facts, and none told before."""
    _known.set(facts)


class TextLines(logging.Formatter):
    """For people: time in UTC, level, logger, key=value of what is known, message."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback follows on lines of its own."""
        known = "".join(f" {key}={value}" for key, value in _known.get().items())
        line = f"{_time(record)} {record.levelname} {record.name}{known}: {record.getMessage()}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonLines(logging.Formatter):
    """For programs: an object a line, always with time, level, logger and message."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, also with a traceback, which is its key `error`."""
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            **_known.get(),
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(level: int | str, form: LogFormat) -> None:
    """Send all lines of this process from `level` on to standard error, in one form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    handler.addFilter(_is_news)
    logging.basicConfig(level=level, handlers=[handler], force=True)


def _is_news(record: logging.LogRecord) -> bool:
    """False for Celery's own lines that a routine task came and ended well.

    With its lines on tasks Celery gives `data`, of which `name` is the task's.
    """
    if record.levelno > logging.INFO or not record.name.startswith("celery."):
        return True
    return getattr(record, "data", NOTHING).get("name") not in ROUTINE


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
