"""Text from outside, such as names in archives and files, made safe to print, log and export."""

import re
from collections.abc import Callable
from pathlib import PurePath

ELLIPSIS = "..."
LONGEST_DETAIL = 1_000
"""Characters of a whole message in the ledger; what it quotes is shorter."""

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
FORMULA = re.compile(r"'*[ ]*[=+\-@\t\r\n＝＋－＠]")
CREDENTIALS = re.compile(r"://[^/\s]*@")
PASSWORD = re.compile(r"(password=)[^&\s]+", re.IGNORECASE)  # in the query of a URL
GUARDED = re.compile(r"'+[ ]*[=+\-@\t\r\n＝＋－＠]")


def printable(text: object, limit: int | None = 200) -> str:
    r"""Return text on one line, without control characters and passwords of URLs, and short.

    A character that is not printable, such as ESC, a line break, NUL, a change of the writing
    direction or half of a surrogate pair, becomes its escape, such as `\x1b` or `\u202e`.

    Args:
        text: The text, or an object such as an exception or a path, of which `str` is taken.
        limit: The longest result, in characters; what is longer is cut and ends in "...", a path
            begins with it. None for no limit.
    """
    if isinstance(text, PurePath):
        return _shorten(str(text)[::-1], limit, lambda each: _escape(each)[::-1])[::-1]
    return _shorten(str(text), limit, _escape)


def quoted(text: object, limit: int = 200) -> str:
    """Return text like `printable`, in quotes."""
    return f"'{printable(text, limit)}'"


def printable_lines(text: object, limit: int | None = None) -> str:
    """Return text like `printable`, but with its line breaks."""
    return _shorten(str(text), limit, lambda each: each if each == "\n" else _escape(each))


def csv_cell(value: object) -> object:
    """Return a value for a CSV file that a spreadsheet program does not take for a formula.

    Text that begins like a formula (= + - @, a tab or a line break) gets an apostrophe in front,
    unless it is a number. Numbers and other values stay as they are.
    """
    if not isinstance(value, str):
        return value
    return f"'{value}" if FORMULA.match(value) and not NUMBER.fullmatch(value) else value


def from_csv_cell(text: str) -> str:
    """Return the text that `csv_cell` has put an apostrophe in front of."""
    return text[1:] if GUARDED.match(text) else text


def _hide_passwords(text: str) -> str:
    """Replace the user and password of each URL in a text."""
    if "@" in text:
        text = CREDENTIALS.sub("://***@", text)
    return PASSWORD.sub(r"\1***", text) if "=" in text else text


def _shorten(text: str, limit: int | None, escape: Callable[[str], str]) -> str:
    """Return text with each character escaped, whole or cut to `limit` between two of them."""
    text = _hide_passwords(text)
    if limit is None:
        return text if text.isprintable() else "".join(map(escape, text))
    # One character more than the limit shows that something has to be cut.
    pieces = [escape(each) for each in text[: limit + 1]]
    if sum(map(len, pieces)) <= limit:
        return "".join(pieces)
    kept = ""
    for piece in pieces:
        if len(kept) + len(piece) > limit - len(ELLIPSIS):
            break
        kept += piece
    return kept + ELLIPSIS


def _escape(character: str) -> str:
    """Return a character, or its escape if it is not printable."""
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")
