"""What is wrong with an argument or option, in plain words: Typer passes on Pydantic's."""

import re

PLAIN_WORDS = (
    (r"Input should be a valid integer.*", "write a whole number"),
    (r"Input should be a valid number.*", "write a number"),
    (r"Input should be a finite number", "write a number, not an infinite one"),
    (r"Input should be greater than or equal to (.+)", r"write at least \1"),
    (r"Input should be less than or equal to (.+)", r"write at most \1"),
    (r"Input should be greater than (.+)", r"write more than \1"),
    (r"Input should be less than (.+)", r"write less than \1"),
    (r"Value error, (.*)", r"\1"),
)


def in_plain_words(message: str) -> str:
    """Return what is wrong with a value, and what to write instead."""
    for pattern, words in PLAIN_WORDS:
        if re.fullmatch(pattern, message, re.DOTALL):
            return re.sub(pattern, words, message, count=1, flags=re.DOTALL).rstrip(".") + "."
    return message
