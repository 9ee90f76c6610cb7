"""A calibration corrects known errors, never raises a log-loss, and stays cautious if rare."""

import numpy as np
import pytest

from mernet.model.calibration import Platt, sigmoid
from mernet.model.errors import FitError
from mernet.model.training.calibrate import fit_platt


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    p = np.clip(probabilities, 1e-12, 1 - 1e-12)
    return -np.where(labels, np.log(p), np.log1p(-p)).mean(axis=0)


def test_platt_undoes_a_known_miscalibration():
    random = np.random.default_rng(4)
    logits = random.normal(scale=2, size=(20000, 1))
    labels = sigmoid(logits / 3 - 0.7) > random.random(logits.shape)
    platt = fit_platt(sigmoid(logits), labels)
    assert platt.temperature[0] == pytest.approx(3, rel=0.1)
    assert platt.bias[0] == pytest.approx(0.7, abs=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_platt_never_raises_the_log_loss_of_a_class_on_its_own_images(seed: int):
    random = np.random.default_rng(seed)
    marginals = sigmoid(random.normal(scale=3, size=(40, 25)))
    labels = random.random((40, 25)) < random.random(25) ** 3
    labels[:, 0], labels[:, 1] = False, True
    after = log_loss(fit_platt(marginals, labels).apply(marginals), labels)
    assert (after <= log_loss(marginals, labels) + 1e-12).all()


def test_a_class_without_positives_keeps_its_temperature_and_loses_overconfidence():
    marginals = np.random.default_rng(5).uniform(0.3, 0.9, size=(250, 1))
    platt = fit_platt(marginals, np.zeros((250, 1), bool))
    assert platt.temperature == (1.0,)
    assert platt.apply(marginals).mean() == pytest.approx(1 / 252, rel=0.05)


def test_a_class_without_positives_that_is_already_low_stays_as_it_is():
    marginals = np.full((250, 1), 1e-4)
    assert fit_platt(marginals, np.zeros((250, 1), bool)) == Platt.identity(1)


def test_marginals_that_say_the_opposite_are_flattened_to_the_share_of_the_class():
    labels = np.random.default_rng(6).random((200, 1)) < 0.5
    marginals = np.where(labels, 0.1, 0.9)
    calibrated = fit_platt(marginals, labels).apply(marginals)
    assert calibrated == pytest.approx(np.full((200, 1), labels.mean()), abs=0.05)


@pytest.mark.parametrize(
    ("marginals", "labels", "message"),
    [
        (np.zeros((3, 2)), np.zeros((4, 2), bool), "must be of the same images"),
        (np.zeros((3, 2)), np.zeros((3, 1), bool), "must be of the same images"),
        (np.zeros((3, 1)), np.zeros((3, 1)), "booleans"),
        (np.full((3, 1), np.nan), np.zeros((3, 1), bool), "NaN"),
        (np.zeros((0, 1)), np.zeros((0, 1), bool), "must be of the same images"),
    ],
)
def test_marginals_and_labels_that_do_not_match_are_refused(
    marginals: np.ndarray, labels: np.ndarray, message: str
):
    with pytest.raises(FitError, match=message):
        fit_platt(marginals, labels)


def test_targets_of_a_rare_class_are_smoothed_and_those_of_others_are_not():
    marginals = np.where(np.arange(400) < 200, 0.9, 0.1)[:, None]
    common = np.arange(400)[:, None] < 200
    sure = fit_platt(marginals, common).apply(marginals)
    assert sure[0, 0] > 0.999

    rare = np.arange(400)[:, None] < 3
    marginals = np.where(rare, 0.5, 0.2)
    unsure = fit_platt(marginals, rare).apply(marginals)
    assert unsure[0, 0] == pytest.approx(4 / 5, abs=0.05)
    assert unsure[-1, 0] < 0.01
