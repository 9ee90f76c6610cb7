"""Whatever an archive serves ends in a result or in one of our errors."""

import contextlib
from itertools import islice

import pytest

from fixtures.mutations import INPUTS, Input, mutated_inputs, read_input
from mernet.errors import MernetError

SEEDS = range(4)
INPUTS_OF_A_SEED = 250


@pytest.mark.parametrize("kind", INPUTS)
def test_the_inputs_that_are_changed_are_right_before(kind):
    read_input(Input(kind, INPUTS[kind]))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_malformed_input_ends_in_a_result_or_in_one_of_our_errors(seed):
    for given in islice(mutated_inputs(seed), INPUTS_OF_A_SEED):
        with contextlib.suppress(MernetError):
            read_input(given)


def test_a_seed_always_gives_the_same_inputs():
    assert list(islice(mutated_inputs(7), 20)) == list(islice(mutated_inputs(7), 20))
