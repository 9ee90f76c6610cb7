"""Marginals along the chain: unbiased if sampled, and reproducible to the bit."""

import itertools

import numpy as np
import pytest

from mernet.model.calibration import logit, sigmoid
from mernet.model.chain import ChainHead, ChainMode, ChainSettings, uniform_table
from mernet.model.errors import ModelError

SAMPLED = ChainSettings()


def random_chain(classes: int, features: int, seed: int) -> ChainHead:
    random = np.random.default_rng(seed)
    return ChainHead(
        weight=random.normal(size=(classes, features)),
        label_weight=np.tril(random.normal(scale=2.0, size=(classes, classes)), -1),
        bias=random.normal(size=classes),
    )


def exact_marginals(chain: ChainHead, features: np.ndarray) -> np.ndarray:
    """Sum over all 2^K label vectors."""
    marginals = np.zeros((len(features), len(chain.bias)))
    for path in itertools.product([0.0, 1.0], repeat=len(chain.bias)):
        labels = np.array([path])
        conditional = sigmoid(chain.conditional_logits(features, labels))
        joint = np.where(labels > 0, conditional, 1 - conditional).prod(axis=1, keepdims=True)
        marginals += joint * labels
    return marginals


@pytest.fixture
def two_classes() -> ChainHead:
    """P(y1) = .4, P(y2 | y1 = 1) = .95, P(y2 | y1 = 0) = .30: the marginal of y2 is .56."""
    first, given_no, given_yes = logit(np.array([0.4, 0.30, 0.95]))
    return ChainHead(
        weight=np.zeros((2, 1)),
        label_weight=np.array([[0.0, 0.0], [given_yes - given_no, 0.0]]),
        bias=np.array([first, given_no]),
    )


@pytest.mark.parametrize(("mode", "second"), [(ChainMode.GREEDY, 0.30), (ChainMode.SAMPLED, 0.56)])
def test_greedy_passing_gives_30_percent_although_the_marginal_is_56(
    two_classes: ChainHead, mode: ChainMode, second: float
):
    marginals = two_classes.marginals(np.zeros((1, 1)), ChainSettings(mode=mode))
    assert marginals[0] == pytest.approx([0.4, second], abs=0.002)


def test_expected_passing_puts_the_mean_label_into_the_logit(two_classes: ChainHead):
    marginals = two_classes.marginals(np.zeros((1, 1)), ChainSettings(mode=ChainMode.EXPECTED))
    no, yes = logit(np.array([0.30, 0.95]))
    assert marginals[0, 1] == pytest.approx(sigmoid(no + 0.4 * (yes - no)), rel=1e-9)
    assert abs(marginals[0, 1] - 0.56) > 0.04


@pytest.mark.parametrize("classes", [2, 5, 8])
def test_sampled_marginals_agree_with_enumeration_within_the_standard_error(classes: int):
    chain = random_chain(classes, features=6, seed=classes)
    features = np.random.default_rng(1).normal(size=(40, 6))
    error = chain.marginals(features, SAMPLED) - exact_marginals(chain, features)
    bound = 0.5 / np.sqrt(SAMPLED.samples)
    assert np.sqrt(np.mean(error**2)) < bound / 2
    assert np.abs(error).max() < 4 * bound


def test_sampled_marginals_are_unbiased_over_tables():
    chain = random_chain(6, features=4, seed=2)
    features = np.random.default_rng(2).normal(size=(5, 4))
    tables = [chain.marginals(features, ChainSettings(samples=32, seed=s)) for s in range(200)]
    error = np.mean(tables, axis=0) - exact_marginals(chain, features)
    assert np.abs(error).max() < 4 * 0.5 / np.sqrt(32 * 200)


def test_a_latin_hypercube_has_at_most_three_quarters_of_the_error_of_independent_uniforms(
    monkeypatch: pytest.MonkeyPatch,
):
    chain = random_chain(8, features=6, seed=0)
    features = np.random.default_rng(0).normal(size=(50, 6))
    exact = exact_marginals(chain, features)

    def rms() -> float:
        runs = [chain.marginals(features, ChainSettings(seed=seed)) - exact for seed in range(5)]
        return float(np.sqrt(np.mean(np.square(runs))))

    hypercube = rms()
    monkeypatch.setattr(
        "mernet.model.chain.uniform_table",
        lambda samples, classes, seed: np.random.default_rng(seed).random((samples, classes)),
    )
    assert hypercube < 0.75 * rms()


def test_each_column_of_the_table_has_one_uniform_in_every_stratum():
    table = uniform_table(samples=64, classes=25, seed=9)
    strata = np.floor(table * 64).astype(int)
    assert (np.sort(strata, axis=0) == np.arange(64)[:, None]).all()


def test_the_table_of_a_seed_never_changes():
    # A checkpoint names its table by a seed: other numbers from a later numpy would change results.
    table = uniform_table(samples=4, classes=3, seed=0)
    assert table.round(6).tolist() == [
        [0.651659, 0.932374, 0.385906],
        [0.233768, 0.703963, 0.750685],
        [0.464351, 0.258396, 0.182414],
        [0.793914, 0.215795, 0.635365],
    ]


@pytest.mark.parametrize("mode", list(ChainMode))
def test_a_row_is_the_same_bit_for_bit_whatever_the_other_images_and_their_order(mode: ChainMode):
    chain = random_chain(25, features=300, seed=4)
    features = np.random.default_rng(4).normal(size=(17, 300)).astype(np.float32)
    settings = ChainSettings(mode=mode)
    together = chain.marginals(features, settings)
    alone = [chain.marginals(row[None], settings)[0] for row in features]
    assert (together == alone).all()
    assert (chain.marginals(features[::-1], settings)[::-1] == together).all()


def test_no_images_give_no_rows():
    assert random_chain(25, 4, 0).marginals(np.zeros((0, 4)), SAMPLED).shape == (0, 25)


def test_a_label_weight_on_the_class_itself_or_a_later_one_is_refused():
    for row, column in [(1, 1), (0, 2)]:
        label_weight = np.zeros((3, 3))
        label_weight[row, column] = 0.1
        with pytest.raises(ModelError, match="strictly lower triangular"):
            ChainHead(np.zeros((3, 2)), label_weight, np.zeros(3))


def test_wrong_shapes_and_numbers_that_are_not_finite_are_refused():
    with pytest.raises(ModelError, match="shapes"):
        ChainHead(np.zeros((3, 2)), np.zeros((2, 2)), np.zeros(3))
    with pytest.raises(ModelError, match="NaN"):
        ChainHead(np.full((3, 2), np.nan), np.zeros((3, 3)), np.zeros(3))
