"""Chain against control: paired differences, resampled by group."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, log_loss

from mernet.model.training.evaluation.comparison import ProbabilityRanking, compare, image_losses

IMAGES, CLASSES = 300, 4


@pytest.fixture
def truth() -> np.ndarray:
    shares = np.array([0.5, 0.3, 0.2, 0.01])
    return np.random.default_rng(0).random((IMAGES, CLASSES)) < shares


def noisy(truth: np.ndarray, noise: float, seed: int = 1) -> np.ndarray:
    """Probabilities that follow the truth, the worse the more noise."""
    odds = 2.0 * truth - 1 + np.random.default_rng(seed).normal(0, noise, truth.shape)
    return 1 / (1 + np.exp(-odds))


def test_weighted_average_precision_is_that_of_scikit_learn_with_ties(truth: np.ndarray):
    random = np.random.default_rng(2)
    tied = np.round(noisy(truth, 1), 1)
    weights = random.integers(0, 4, IMAGES).astype(float)
    ours = ProbabilityRanking.of(truth, tied).average_precision(weights)
    theirs = [
        average_precision_score(truth[:, k], tied[:, k], sample_weight=weights)
        for k in range(CLASSES)
    ]
    assert ours == pytest.approx(theirs, abs=1e-12)


def test_average_precision_is_undefined_if_no_positive_has_weight(truth: np.ndarray):
    weights = (~truth[:, 0]).astype(float)
    assert np.isnan(ProbabilityRanking.of(truth, noisy(truth, 1)).average_precision(weights)[0])


def test_log_loss_is_that_of_scikit_learn_even_if_a_certain_answer_is_wrong(truth: np.ndarray):
    probabilities = noisy(truth, 1)
    probabilities[0] = ~truth[0]
    assert image_losses(truth, probabilities).mean() == pytest.approx(
        log_loss(truth.ravel(), probabilities.ravel()), rel=1e-9
    )


def test_the_better_head_is_named_whichever_it_is(truth: np.ndarray):
    good, bad = noisy(truth, 0.5), noisy(truth, 5)
    won = compare(truth, good, bad, resamples=100)
    lost = compare(truth, bad, good, resamples=100, name="softmax")
    assert won.mean_average_precision.verdict == won.log_loss.verdict == "chain better"
    assert lost.mean_average_precision.verdict == lost.log_loss.verdict == "control better"
    assert compare(truth, good, bad, resamples=20, name="softmax").log_loss.verdict == (
        "softmax better"
    )


def test_heads_that_differ_by_chance_alone_are_not_distinguished(truth: np.ndarray):
    comparison = compare(truth, noisy(truth, 1, seed=1), noisy(truth, 1, seed=2), resamples=200)
    nothing = "no difference visible in these 300 images"
    assert comparison.log_loss.verdict == nothing
    assert comparison.mean_average_precision.verdict == nothing


def test_a_head_does_not_differ_from_itself(truth: np.ndarray):
    same = noisy(truth, 1)
    for each in compare(truth, same, same, resamples=20).average_precision[:3]:
        assert each.difference.value == each.difference.low == each.difference.high == 0


def test_images_that_are_alike_widen_the_interval(truth: np.ndarray):
    doubled = np.repeat(truth, 10, axis=0)
    heads = [np.repeat(noisy(truth, 1, seed), 10, axis=0) for seed in (1, 2)]
    groups = [str(image // 10) for image in range(len(doubled))]
    grouped = compare(doubled, *heads, groups, resamples=200).log_loss.difference
    alone = compare(doubled, *heads, resamples=200).log_loss.difference
    assert grouped.value == alone.value
    assert (grouped.high - grouped.low) > 2 * (alone.high - alone.low)


def test_an_interval_contains_the_true_difference_about_as_often_as_it_claims():
    random = np.random.default_rng(6)
    held = 0
    for _ in range(40):
        truth = random.random((100, 1)) < 0.5
        main, control = (np.clip(random.normal(0.5, 0.1, (100, 1)), 0, 1) for _ in range(2))
        interval = compare(truth, main, control, resamples=100).log_loss.difference
        held += interval.low <= 0 <= interval.high  # both heads guess: the difference is 0
    assert held >= 33  # 38 expected; fewer than 33 with a chance of 1 in 100


def test_a_class_that_few_groups_show_has_no_interval_and_does_not_enter_the_mean(
    truth: np.ndarray,
):
    comparison = compare(truth, noisy(truth, 0.5), noisy(truth, 1), resamples=50)
    rare = comparison.average_precision[3]
    assert 0 < truth[:, 3].sum() < 10
    assert (rare.difference.low, rare.difference.high, rare.verdict) == (None, None, None)
    common = [each.main.value for each in comparison.average_precision[:3]]
    assert comparison.mean_average_precision.main.value == pytest.approx(np.mean(common))


def test_few_groups_give_no_verdict_at_all(truth: np.ndarray):
    groups = [str(image % 9) for image in range(IMAGES)]
    comparison = compare(truth, noisy(truth, 0.5), noisy(truth, 5), groups, resamples=20)
    assert comparison.groups == 9
    assert comparison.log_loss.difference.low is None
    assert comparison.log_loss.verdict is None
    assert comparison.mean_average_precision.verdict is None


def test_the_same_seed_gives_the_same_intervals(truth: np.ndarray):
    heads = noisy(truth, 1), noisy(truth, 2)
    first, again, other = (compare(truth, *heads, resamples=50, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.log_loss != other.log_loss
