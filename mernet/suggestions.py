"""What a mistyped name probably meant: one way to say it, for every kind of name."""

from collections.abc import Iterable
from difflib import get_close_matches

SUGGESTED = 3
"""The largest number of names that are suggested."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that says that `word` is unknown.

    Case does not matter, nor whether words are joined by spaces, hyphens or underscores.

    Args:
        word: What was written.
        known: The names that exist.

    Returns:
        "; did you mean 'X' or 'Y'?", or "." if no known name resembles the word.
    """
    by_form = {_plain_form(name): str(name) for name in known}
    form = _plain_form(word)
    close = [each for each in by_form if form and each.startswith(form)]
    close += get_close_matches(form, by_form, n=SUGGESTED)
    names = list(dict.fromkeys(by_form[each] for each in close))[:SUGGESTED]
    return f"; did you mean {' or '.join(map(repr, names))}?" if names else "."


def _plain_form(name: str) -> str:
    return " ".join(name.lower().replace("-", " ").replace("_", " ").split())
