"""Platt scaling as published: p = 1 / (1 + exp(-Z/T + b))."""

import numpy as np
import pytest
from pydantic import ValidationError

from mernet.model.calibration import CLIP, Platt, logit, sigmoid


def test_a_probability_follows_the_published_formula():
    platt = Platt(temperature=(2.0,), bias=(0.5,))
    z = np.log(0.9 / 0.1)
    expected = 1 / (1 + np.exp(-z / 2.0 + 0.5))
    assert platt.apply(np.array([[0.9]]))[0, 0] == pytest.approx(expected, rel=1e-12)


def test_the_identity_changes_nothing():
    marginals = np.array([[0.001, 0.5, 0.999]])
    assert Platt.identity(3).apply(marginals) == pytest.approx(marginals, rel=1e-12)


def test_each_class_has_its_own_temperature_and_bias():
    platt = Platt(temperature=(1.0, 2.0), bias=(0.0, 1.0))
    calibrated = platt.apply(np.array([[0.8, 0.8]]))[0]
    assert calibrated[0] == pytest.approx(0.8)
    assert calibrated[1] == pytest.approx(sigmoid(logit(np.array(0.8)) / 2 - 1))


def test_probabilities_of_zero_and_one_have_finite_logits():
    assert logit(np.array([0.0, 1.0])) == pytest.approx(logit(np.array([CLIP, 1 - CLIP])))
    assert np.isfinite(logit(np.array([0.0, 1.0]))).all()


def test_sigmoid_does_not_overflow():
    with np.errstate(over="raise"):
        assert sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_is_not_positive_and_finite_is_refused(temperature: float):
    with pytest.raises(ValidationError):
        Platt(temperature=(temperature,), bias=(0.0,))
