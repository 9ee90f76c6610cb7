"""Malformed bytes end in a result or in one of our errors, soon and within bounds."""

import pytest

from faults.fuzz import KINDS, fuzz, give
from fixtures.mutations import INPUTS, Input
from fixtures.outside_inputs import OUTSIDE

pytestmark = pytest.mark.faults
SEED, COUNT = 10, 600
REFUSED = {
    "http redirect",
    "http busy",
    "http location",
    "http retry after",
    "packed bomb",
    "png bomb",
    "checkpoint of scalars",
    "checkpoint with deep json",
}
"""Kinds of which the one that is changed is an attack already, or no file."""


@pytest.mark.parametrize("kind", OUTSIDE)
def test_the_inputs_that_are_changed_are_those_that_readers_know(kind: str) -> None:
    expected = "refused" if kind in REFUSED else "read"
    assert give(Input(kind, OUTSIDE[kind][0])) == expected


def test_a_malformed_input_ends_in_a_result_or_in_one_of_our_errors() -> None:
    figures = fuzz(SEED, COUNT)
    assert figures.faults == []
    assert sum(figures.results.values()) == COUNT


def test_every_reader_is_given_some() -> None:
    assert set(INPUTS) | set(OUTSIDE) == set(KINDS)
