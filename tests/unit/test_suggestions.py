"""What a mistyped name probably meant."""

import pytest

from mernet.suggestions import did_you_mean

REASONS = ("not found", "transfer failed", "truncated", "worker lost")


@pytest.mark.parametrize(
    ("word", "end"),
    [
        ("not-fuond", "; did you mean 'not found'?"),
        ("NOT_FOUND", "; did you mean 'not found'?"),
        ("trans", "; did you mean 'transfer failed'?"),
        ("tr", "; did you mean 'transfer failed' or 'truncated'?"),
        ("cosmic rays", "."),
        ("", "."),
    ],
)
def test_names_that_begin_alike_or_resemble_the_word_are_suggested(word, end):
    assert did_you_mean(word, REASONS) == end


def test_at_most_three_names_are_suggested():
    assert did_you_mean("a", ["a1", "a2", "a3", "a4"]).count("or") == 2
