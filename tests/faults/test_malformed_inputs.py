"""Malformed bytes end in a result or in one of our errors, soon and within bounds."""

import pytest

from faults.fuzz import KINDS, fuzz, give
from fixtures.mutations import INPUTS, Input
from fixtures.outside_inputs import OUTSIDE

pytestmark = pytest.mark.faults
SEED, COUNT = 10, 600


@pytest.mark.parametrize("kind", OUTSIDE)
def test_the_inputs_that_are_changed_are_those_that_readers_know(kind: str) -> None:
    expected = "refused" if kind in ("http redirect", "http busy") else "read"
    assert give(Input(kind, OUTSIDE[kind][0])) == expected


def test_a_malformed_input_ends_in_a_result_or_in_one_of_our_errors() -> None:
    figures = fuzz(SEED, COUNT)
    assert figures.faults == []
    assert sum(figures.results.values()) == COUNT


def test_every_reader_is_given_some() -> None:
    assert set(INPUTS) | set(OUTSIDE) == set(KINDS)
