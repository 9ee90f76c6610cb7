"""Metrics of one class agree with scikit-learn's and torchmetrics', at the edges too."""

import numpy as np
import pytest
import torch
from scipy.stats import beta, binom
from sklearn.calibration import calibration_curve

from mernet.model.torchvision_compat import import_torchvision_models
from mernet.model.training.evaluation.metrics import (
    above_threshold,
    average_precision,
    calibration_error,
    calibration_floor,
    ece,
    equal_mass,
    equal_width,
    expected_ece,
    reliability,
    share,
)

import_torchvision_models()  # torchmetrics imports torchvision
from torchmetrics.functional.classification import (  # noqa: E402
    binary_average_precision,
    binary_calibration_error,
)


@pytest.fixture
def made() -> tuple[np.ndarray, np.ndarray]:
    """Truth and over-confident probabilities of 500 images."""
    random = np.random.default_rng(4)
    probabilities = random.beta(0.6, 1.5, 500)
    return random.random(500) < probabilities**1.5, probabilities


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_ece_is_that_of_torchmetrics(made: tuple[np.ndarray, np.ndarray], bins: int):
    truth, probabilities = made
    theirs = binary_calibration_error(
        torch.tensor(probabilities), torch.tensor(truth).int(), n_bins=bins, norm="l1"
    )
    assert ece(truth, probabilities, equal_width(bins)) == pytest.approx(float(theirs), abs=1e-12)


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_bins_are_those_of_scikit_learn(strategy: str):
    random = np.random.default_rng(5)
    probabilities = random.integers(0, 21, 400) / 20  # ties, 0, 1, and probabilities on the edges
    truth = random.random(400) < probabilities
    edges = equal_width(10) if strategy == "uniform" else equal_mass(probabilities, 10)
    positive, mean = calibration_curve(truth, probabilities, n_bins=10, strategy=strategy)
    weight = np.histogram(np.searchsorted(edges[1:-1], probabilities), np.arange(11) - 0.5)[0]
    expected = np.average(np.abs(positive - mean), weights=weight[weight > 0])
    assert ece(truth, probabilities, edges) == pytest.approx(expected, abs=1e-12)


def test_a_certain_answer_has_no_error_if_right_and_the_largest_if_wrong():
    truth = np.array([True, False, True])
    assert ece(truth, truth.astype(float), equal_width(15)) == 0
    assert ece(truth, (~truth).astype(float), equal_width(15)) == 1


def test_answering_zero_always_has_the_prevalence_as_its_error():
    truth = np.arange(100) < 7
    error = calibration_error(truth, np.zeros(100))
    assert (error.bins_10, error.bins_15, error.equal_mass_15) == pytest.approx((0.07,) * 3)


def test_bins_of_equal_mass_contain_equal_numbers_of_images():
    probabilities = np.random.default_rng(1).random(150) ** 4
    edges = equal_mass(probabilities, 15)
    counts = np.bincount(np.searchsorted(edges[1:-1], probabilities))
    assert counts.tolist() == [10] * 15


@pytest.mark.parametrize("prevalence", [0.01, 0.30])
def test_the_floor_of_one_bin_is_the_mean_deviation_of_a_binomial(prevalence: float):
    images = 739
    hits = np.arange(images + 1)
    deviation = np.abs(hits / images - prevalence)
    exact = (binom.pmf(hits, images, prevalence) * deviation).sum()
    floor = expected_ece(np.full(images, prevalence), equal_width(15))
    assert floor == pytest.approx(exact, rel=0.15)


def test_labels_drawn_from_the_probabilities_have_an_error_near_the_floor():
    random = np.random.default_rng(3)
    probabilities = random.random(2000)
    drawn = [
        ece(random.random(2000) < probabilities, probabilities, equal_width(10)) for _ in range(50)
    ]
    floor = calibration_floor(probabilities, seed=0).bins_10
    assert floor == pytest.approx(np.mean(drawn), rel=0.1)


def test_certain_answers_have_no_floor():
    assert expected_ece(np.array([0.0, 1.0, 1.0]), equal_width(15)) == 0


def test_reliability_counts_every_image_once():
    bins = reliability(np.array([True, False, True, True]), np.array([0.0, 0.1, 0.95, 1.0]))
    assert bins.counts == (2, *(0,) * 8, 2)
    assert bins.mean_probability[0] == pytest.approx(0.05)
    assert bins.share_positive == (0.5, *(None,) * 8, 1.0)


def test_average_precision_is_that_of_torchmetrics_and_none_without_a_positive(
    made: tuple[np.ndarray, np.ndarray],
):
    truth, probabilities = made
    tied = np.round(probabilities, 1)
    theirs = binary_average_precision(torch.tensor(tied), torch.tensor(truth).int())
    assert average_precision(truth, tied) == pytest.approx(float(theirs), abs=1e-6)  # float32
    assert average_precision(np.zeros(500, bool), probabilities) is None


@pytest.mark.parametrize(("hits", "total"), [(0, 10), (3, 10), (31, 34), (10, 10)])
def test_a_share_has_the_interval_of_clopper_and_pearson(hits: int, total: int):
    known = share(hits, total)
    low = beta.ppf(0.025, hits, total - hits + 1) if hits else 0
    high = beta.ppf(0.975, hits + 1, total - hits) if hits < total else 1
    assert (known.value, known.low, known.high) == pytest.approx((hits / total, low, high))
    assert not known.insufficient


def test_a_share_of_nothing_is_undefined_and_one_of_few_is_marked():
    assert (share(0, 0).value, share(0, 0).low, share(0, 0).high) == (None, None, None)
    assert share(9, 9).insufficient


def test_a_published_probability_is_strictly_above_the_threshold_as_float32():
    boundary = float(np.float32(0.9))  # 0.89999998 as a double
    above = float(np.nextafter(np.float32(0.9), np.float32(1)))
    assert above_threshold(np.array([boundary, 0.9, above]), 0.9).tolist() == [False, False, True]
