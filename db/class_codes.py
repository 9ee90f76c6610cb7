"""The 25 classes: their codes, and the words by which users name them."""

from collections.abc import Sequence

import sqlalchemy as sa

from mernet.db.errors import QueryRefused
from mernet.db.tables import image_class
from mernet.printable import quoted
from mernet.suggestions import did_you_mean


def class_codes(connection: sa.Connection, wanted: Sequence[str]) -> list[str]:
    """Return the codes of classes, without duplicates.

    Args:
        connection: An open transaction.
        wanted: Codes or names of classes, in any case.

    Raises:
        QueryRefused: A word is not a class; the message suggests similar ones.
    """
    rows = connection.execute(sa.text("SELECT code, name FROM image_class ORDER BY position"))
    by_word = {word.lower(): row.code for row in rows for word in row}
    known = list(dict.fromkeys(by_word.values()))
    for word in wanted:
        if word.lower() not in by_word:
            raise QueryRefused(
                f"No class is called {quoted(word)}{did_you_mean(word, by_word)} "
                f"The codes: {', '.join(known)}."
            )
    return list(dict.fromkeys(by_word[word.lower()] for word in wanted))


def all_class_codes(connection: sa.Connection) -> list[str]:
    """Return the 25 codes in the order of the chain."""
    return list(connection.scalars(sa.select(image_class.c.code).order_by(image_class.c.position)))
