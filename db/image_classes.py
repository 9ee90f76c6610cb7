"""The 25 classes as users name them."""

from collections.abc import Sequence
from difflib import get_close_matches

import sqlalchemy as sa

from mernet.db.errors import QueryRefused
from mernet.db.tables import image_class


def codes(connection: sa.Connection, wanted: Sequence[str]) -> list[str]:
    """The codes of classes given as code or name in any case, without doubles.

    Raises `QueryRefused`, naming what is close, for a word that is no class.
    """
    rows = connection.execute(sa.text("SELECT code, name FROM image_class ORDER BY position"))
    by_word = {word.lower(): row.code for row in rows for word in row}
    known = list(dict.fromkeys(by_word.values()))
    for word in wanted:
        if word.lower() not in by_word:
            close = get_close_matches(word.lower(), by_word)
            hint = f"did you mean {' or '.join(close)}? The" if close else "the"
            raise QueryRefused(f"No class is called {word!r}; {hint} codes: {', '.join(known)}.")
    return list(dict.fromkeys(by_word[word.lower()] for word in wanted))


def all_codes(connection: sa.Connection) -> list[str]:
    """The 25 codes in chain order."""
    return list(connection.scalars(sa.select(image_class.c.code).order_by(image_class.c.position)))
