"""Recipes and the learning rates they lead to."""

import numpy as np
import pytest

from mernet.model.errors import TrainingError
from mernet.model.training.finetuning.optimiser import learning_rate_factor
from mernet.model.training.finetuning.recipes import RECIPES

PAPER, BEST = RECIPES["paper"], RECIPES["best"]


def test_the_papers_recipe_has_the_abstracts_figures():
    assert (PAPER.iterations, PAPER.batch_size) == (34_995, 8)
    assert (PAPER.backbone_learning_rate, PAPER.head_learning_rate) == (1e-4, 1e-3)
    originals = 3004 * 0.75
    assert PAPER.variants * originals == pytest.approx(70_864, rel=0.02)
    epoch = PAPER.variants * 3004 * 0.6
    assert PAPER.iterations * PAPER.batch_size / epoch == pytest.approx(5, rel=0.01)


def test_a_changed_recipe_keeps_the_rest_and_leaves_out_what_is_none():
    changed = PAPER.changed(iterations=10, batch_size=None)
    assert changed.model_dump() == PAPER.model_dump() | {"iterations": 10}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"iterations": 0}, "recipe field iterations: .* greater than or equal to 1"),
        ({"head_learning_rate": float("nan")}, "head_learning_rate"),
        ({"learning_rate": 1.0}, "no field learning_rate; its fields are iterations, .*"),
        ({"optimiser": "adam"}, "recipe field optimiser: .*'sgd' or 'adamw'"),
    ],
)
def test_a_change_out_of_bounds_is_refused_by_name(change: dict[str, object], message: str):
    with pytest.raises(TrainingError, match=message):
        PAPER.changed(**change)


def test_the_papers_learning_rate_stays():
    assert {learning_rate_factor(PAPER, step) for step in (0, 1000, 34_994)} == {1.0}


def test_the_best_learning_rate_rises_then_falls_to_nothing():
    shares = np.array([learning_rate_factor(BEST, step) for step in range(BEST.iterations)])
    peak = BEST.warm_up
    assert (np.diff(shares[:peak]) > 0).all()
    assert (np.diff(shares[peak:]) < 0).all()
    assert shares[peak - 1] == shares[peak] == 1
    assert shares[(BEST.iterations + peak) // 2] == pytest.approx(0.5)
    assert 0 < shares[0] < 0.01
    assert 0 < shares[-1] < 1e-6


def test_a_run_shorter_than_its_warm_up_only_warms_up():
    short = BEST.changed(iterations=100)
    assert [learning_rate_factor(short, step) for step in (0, 99)] == [1 / 500, 100 / 500]
