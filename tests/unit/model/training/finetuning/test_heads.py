"""Heads that are trained together with a network."""

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy, log_softmax

from mernet.model.chain import ChainSettings
from mernet.model.checkpoint import HeadKind
from mernet.model.softmax import SoftmaxHead
from mernet.model.training.finetuning.heads import TrainableChain, TrainableHead, create_head

LABELS = np.array([[1, 0, 1], [1, 1, 0], [0, 0, 0], [1, 0, 1]], bool)
FEATURES = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
TRUTH = torch.from_numpy(LABELS).float()


def random_chain() -> TrainableChain:
    chain = TrainableChain(6, LABELS, linked=True)
    generator = torch.Generator().manual_seed(2)
    for parameter in chain.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return chain


@pytest.mark.parametrize("kind", list(HeadKind))
def test_a_new_head_predicts_the_smoothed_share_of_each_class(kind: HeadKind):
    labels = np.eye(3, dtype=bool)[[0, 0, 0, 1]]
    says = create_head(kind, 6, labels).to_head().marginals(FEATURES.numpy(), ChainSettings())
    shares = np.array([4, 2, 1]) / 6
    if kind is HeadKind.SOFTMAX:
        shares /= shares.sum()
    assert says == pytest.approx(np.tile(shares, (4, 1)), rel=1e-5)


def test_the_chains_loss_is_that_of_the_head_it_becomes():
    chain = random_chain()
    logits = chain.to_head().conditional_logits(FEATURES.numpy(), LABELS.astype(float))
    said = torch.from_numpy(1 / (1 + np.exp(-logits)))
    expected = binary_cross_entropy(said, TRUTH.double(), reduction="none").sum(dim=1).mean()
    assert chain.loss(FEATURES, TRUTH).item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_chain_learns_nothing_from_labels_that_come_later():
    chain = random_chain()
    chain.loss(FEATURES, TRUTH).backward()
    assert chain.label_weight.grad is not None
    assert not chain.label_weight.grad.triu().any()
    assert chain.label_weight.grad.tril(-1)[1:, 0].all()


def test_drawn_labels_follow_the_chain():
    chain = TrainableChain(1, np.zeros((1, 2), bool), linked=True)
    chain.bias.data = torch.tensor([0.0, -4.0])
    chain.label_weight.data = torch.tensor([[0.0, 0.0], [8.0, 0.0]])
    torch.manual_seed(3)
    # With labels of class 0 drawn, class 1 is expected for the half of the images that drew it.
    truth = torch.tensor([[0.0, 1.0]]).expand(20_000, -1)
    expected = np.log(2) + (np.log1p(np.exp(4)) + np.log1p(np.exp(-4))) / 2
    assert chain.loss(torch.zeros(20_000, 1), truth, 1.0).item() == pytest.approx(
        expected, rel=0.03
    )


@pytest.mark.parametrize(("mixing", "drawn_share"), [(0.0, 0.0), (0.25, 0.25), (1.0, 1.0)])
def test_mixing_draws_for_that_share_of_the_images(mixing: float, drawn_share: float):
    chain = TrainableChain(1, np.zeros((1, 2), bool), linked=True)
    chain.bias.data = torch.tensor([30.0, 0.0])
    chain.label_weight.data = torch.tensor([[0.0, 0.0], [30.0, 0.0]])
    torch.manual_seed(4)
    # Class 0 is always drawn, and is never true: where it is drawn, class 1 costs 30 nats.
    truth = torch.zeros(20_000, 2)
    loss = chain.loss(torch.zeros(20_000, 1), truth, mixing).item() - 30
    expected = 30 * drawn_share + np.log(2) * (1 - drawn_share)
    assert loss == pytest.approx(expected, rel=0.05)


def test_a_softmax_head_keeps_its_weights_as_a_fixed_head():
    labels = np.eye(3, dtype=bool)[[0, 2, 1, 0]]
    head: TrainableHead = create_head(HeadKind.SOFTMAX, 6, labels)
    head.weight.data = torch.randn(3, 6, generator=torch.Generator().manual_seed(5))
    result = head.to_head()
    assert isinstance(result, SoftmaxHead)
    said = np.log(result.marginals(FEATURES.numpy(), ChainSettings()))
    logits = FEATURES @ head.weight.T + head.bias
    assert said == pytest.approx(log_softmax(logits, dim=1).detach().numpy(), abs=1e-5)
    loss = head.loss(FEATURES, torch.from_numpy(labels).float()).item()
    assert loss == pytest.approx(-said[labels].mean(), rel=1e-5)
