"""Fits recover known weights, and give no certainty about classes without examples."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from mernet.model.calibration import sigmoid
from mernet.model.chain import ChainMode, ChainSettings
from mernet.model.errors import FitError
from mernet.model.training.fit_heads import HeadFitter, relative_penalty, smoothed_targets


def fit(features: np.ndarray) -> HeadFitter:
    return HeadFitter(features, relative_penalty(features, 0.1))


def test_a_class_that_shows_only_through_another_is_recovered():
    random = np.random.default_rng(0)
    features = random.normal(size=(2000, 20))
    first = sigmoid(2 * features[:, 0]) > random.random(2000)
    second = np.where(first, 0.9, 0.1) > random.random(2000)
    chain = HeadFitter(features, l2=1e-3).chain(np.stack([first, second], axis=1), label_l2=1e-4)

    assert chain.weight[0, 0] == pytest.approx(2, abs=0.3)
    assert np.abs(chain.weight[1]).max() < 0.3
    assert chain.label_weight[1, 0] == pytest.approx(2 * np.log(9), abs=0.4)
    assert chain.bias[1] == pytest.approx(-np.log(9), abs=0.3)


def test_the_fit_does_not_depend_on_units_and_offsets_of_the_features():
    random = np.random.default_rng(1)
    features = random.normal(size=(300, 5))
    labels = features @ random.normal(size=(5, 3)) + random.normal(size=(300, 3)) > 0
    scaled = 50 * features + np.array([1e-3, 1.0, -50.0, 7.0, 0.1])
    settings = ChainSettings(mode=ChainMode.EXPECTED)
    plain = fit(features).chain(labels).marginals(features, settings)
    assert fit(scaled).chain(labels).marginals(scaled, settings) == pytest.approx(plain, abs=1e-4)


def test_more_features_than_images_and_constant_features_still_give_a_fit():
    random = np.random.default_rng(2)
    features = np.concatenate([random.normal(size=(80, 400)), np.full((80, 3), 0.1)], axis=1)
    labels = features[:, :1] > 0
    chain = fit(features.astype(np.float32)).chain(labels)
    assert (chain.weight[:, 400:] == 0).all()
    agreement = (chain.marginals(features, ChainSettings()) > 0.5) == labels
    assert agreement.mean() > 0.95


def test_a_class_never_or_always_seen_gets_a_low_or_high_probability_but_not_certainty():
    random = np.random.default_rng(3)
    features = random.normal(size=(600, 30)).astype(np.float32)
    labels = np.stack([np.zeros(600), np.ones(600), features[:, 0] > 0], axis=1).astype(bool)
    marginals = fit(features).chain(labels).marginals(features, ChainSettings())
    assert marginals[:, 0] == pytest.approx(1 / 602, rel=0.05)
    assert marginals[:, 1] == pytest.approx(601 / 602, rel=0.05)


def test_smoothed_targets_are_platts():
    labels = np.array([[True], [True], [False]])
    assert smoothed_targets(labels)[:, 0].tolist() == pytest.approx([3 / 4, 3 / 4, 1 / 3])


def test_fitting_twice_gives_the_same_numbers():
    random = np.random.default_rng(7)
    features, labels = random.normal(size=(100, 50)), random.random((100, 4)) < 0.3
    first, second = (fit(features).chain(labels) for _ in range(2))
    assert (first.weight == second.weight).all()
    assert (first.label_weight == second.label_weight).all()


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.zeros((3, 2)), np.zeros((4, 1), bool), "3 images but labels of 4"),
        (np.zeros((3, 2)), np.zeros((3, 1)), "booleans"),
        (np.full((3, 2), np.nan), np.zeros((3, 1), bool), "finite numbers"),
        (np.zeros((0, 2)), np.zeros((0, 1), bool), "finite numbers"),
    ],
)
def test_features_and_labels_that_do_not_match_are_refused(
    features: np.ndarray, labels: np.ndarray, message: str
):
    with pytest.raises(FitError, match=message):
        HeadFitter(features, l2=1.0).chain(labels)


def test_a_penalty_that_is_not_positive_is_refused():
    with pytest.raises(FitError, match="must be positive"):
        HeadFitter(np.zeros((3, 2)), l2=0)


def test_a_control_has_no_label_weights_and_is_the_chain_where_there_is_one_class():
    random = np.random.default_rng(8)
    features, labels = random.normal(size=(200, 10)), random.random((200, 3)) < 0.4
    control = fit(features).independent(labels)
    assert not control.label_weight.any()
    alone = fit(features).chain(labels[:, :1])
    assert control.weight[0] == pytest.approx(alone.weight[0], abs=1e-5)


def test_a_softmax_head_recovers_the_probabilities_of_classes_that_exclude_each_other():
    random = np.random.default_rng(9)
    features = random.normal(size=(4000, 3))
    logits = features * np.array([2.0, -1.0, 0.5])
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    chosen = (shares.cumsum(axis=1) > random.random((4000, 1))).argmax(axis=1)
    head = HeadFitter(features, l2=1e-4).softmax(np.eye(3, dtype=bool)[chosen])
    marginals = head.marginals(features.astype(np.float32), ChainSettings())
    assert marginals.sum(axis=1) == pytest.approx(np.ones(4000))
    assert np.abs(marginals - shares).mean() < 0.02


def test_a_softmax_head_refuses_images_with_two_classes():
    with pytest.raises(FitError, match="exactly one class"):
        fit(np.ones((2, 2))).softmax(np.ones((2, 2), bool))


def test_a_chain_fitted_on_other_earlier_labels_depends_on_those():
    random = np.random.default_rng(10)
    features = random.normal(size=(2000, 2))
    labels = random.random((2000, 2)) < 0.5
    labels[:, 1] = labels[:, 0]
    unrelated = random.random((2000, 2)) < 0.5
    heads = fit(features)
    assert heads.chain(labels).label_weight[1, 0] > 5
    assert abs(heads.chain(labels, earlier=unrelated).label_weight[1, 0]) < 0.5


def test_a_class_visible_only_through_another_is_found_better_by_the_chain_than_by_the_control():
    random = np.random.default_rng(11)
    features = random.normal(size=(5400, 100))
    seen = sigmoid(3 * features[:, 0])
    first = random.random(5400) < seen
    second = random.random(5400) < np.where(first, 0.95, 0.03)
    labels = np.column_stack([first, second])
    training, test = slice(0, 400), slice(400, None)

    heads = fit(features[training])
    chain, control = (
        head.marginals(features[test], ChainSettings())[:, 1]
        for head in (heads.chain(labels[training]), heads.independent(labels[training]))
    )
    truth = 0.03 + (0.95 - 0.03) * seen[test]
    precision = [average_precision_score(second[test], each) for each in (chain, control, truth)]
    assert precision[1] + 0.01 < precision[0] < precision[2]
    assert np.abs(chain - truth).mean() < np.abs(control - truth).mean()
    assert chain.mean() == pytest.approx(truth.mean(), abs=0.03)
