"""Fitting finds what is known to be there, and promises nothing about what was never seen."""

import numpy as np
import pytest

from model.calibration import Platt, sigmoid
from model.chain import ChainMode, ChainSettings
from model.errors import FitError
from model.training.fit import fit_chain, fit_platt, smoothed_targets


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    p = np.clip(probabilities, 1e-12, 1 - 1e-12)
    return -np.where(labels, np.log(p), np.log1p(-p)).mean(axis=0)


def test_a_class_that_shows_only_through_another_is_recovered():
    random = np.random.default_rng(0)
    features = random.normal(size=(2000, 20))
    first = sigmoid(2 * features[:, 0]) > random.random(2000)
    second = np.where(first, 0.9, 0.1) > random.random(2000)
    chain = fit_chain(features, np.stack([first, second], axis=1), l2=1e-3, label_l2=1e-4)

    assert chain.weight[0, 0] == pytest.approx(2, abs=0.3)
    assert np.abs(chain.weight[1]).max() < 0.3
    assert chain.label_weight[1, 0] == pytest.approx(2 * np.log(9), abs=0.4)
    assert chain.bias[1] == pytest.approx(-np.log(9), abs=0.3)


def test_the_fit_does_not_depend_on_units_and_offsets_of_the_features():
    random = np.random.default_rng(1)
    features = random.normal(size=(300, 5))
    labels = features @ random.normal(size=(5, 3)) + random.normal(size=(300, 3)) > 0
    scaled = features * np.array([1e-3, 1.0, 50.0, 7.0, 0.1]) + 3.0
    settings = ChainSettings(mode=ChainMode.EXPECTED)
    plain = fit_chain(features, labels).marginals(features, settings)
    assert fit_chain(scaled, labels).marginals(scaled, settings) == pytest.approx(plain, abs=1e-4)


def test_more_features_than_images_and_constant_features_still_give_a_fit():
    random = np.random.default_rng(2)
    features = np.concatenate([random.normal(size=(80, 400)), np.full((80, 3), 0.1)], axis=1)
    labels = features[:, :1] > 0
    chain = fit_chain(features.astype(np.float32), labels)
    assert (chain.weight[:, 400:] == 0).all()
    agreement = (chain.marginals(features, ChainSettings()) > 0.5) == labels
    assert agreement.mean() > 0.95


def test_a_class_never_or_always_seen_gets_a_low_or_high_probability_but_not_certainty():
    random = np.random.default_rng(3)
    features = random.normal(size=(600, 30)).astype(np.float32)
    labels = np.stack([np.zeros(600), np.ones(600), features[:, 0] > 0], axis=1).astype(bool)
    marginals = fit_chain(features, labels).marginals(features, ChainSettings())
    assert marginals[:, 0] == pytest.approx(1 / 602, rel=0.05)
    assert marginals[:, 1] == pytest.approx(601 / 602, rel=0.05)


def test_smoothed_targets_are_platts():
    labels = np.array([[True], [True], [False]])
    assert smoothed_targets(labels)[:, 0].tolist() == pytest.approx([3 / 4, 3 / 4, 1 / 3])


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


def test_fitting_twice_gives_the_same_numbers():
    random = np.random.default_rng(7)
    features, labels = random.normal(size=(100, 50)), random.random((100, 4)) < 0.3
    first, second = fit_chain(features, labels), fit_chain(features, labels)
    assert (first.weight == second.weight).all()
    assert (first.label_weight == second.label_weight).all()


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.zeros((3, 2)), np.zeros((4, 1), bool), "3 images, labels of 4"),
        (np.zeros((3, 2)), np.zeros((3, 1)), "booleans"),
        (np.full((3, 2), np.nan), np.zeros((3, 1), bool), "NaN"),
        (np.zeros((0, 2)), np.zeros((0, 1), bool), "0 images"),
    ],
)
def test_features_and_labels_that_do_not_belong_together_are_refused(
    features: np.ndarray, labels: np.ndarray, message: str
):
    with pytest.raises(FitError, match=message):
        fit_chain(features, labels)


def test_a_penalty_that_is_not_positive_is_refused():
    with pytest.raises(FitError, match="must be positive"):
        fit_chain(np.zeros((3, 2)), np.zeros((3, 1), bool), l2=0)
