"""Repeat-factor sampling."""

import numpy as np
import pytest

from mernet.model.training.finetuning.oversampling import epoch_order, repeat_factors


def one_rare_class(images: int, rare: int) -> np.ndarray:
    """Labels (images, 2): everyone shows class 0, the first `rare` images class 1."""
    return np.column_stack([np.ones(images, bool), np.arange(images) < rare])


def test_a_class_at_a_quarter_of_the_threshold_comes_up_twice_as_often():
    factors = repeat_factors(one_rare_class(400, 5), threshold=0.05, cap=4)
    assert factors[:5] == pytest.approx(np.full(5, 2.0))
    assert (factors[5:] == 1).all()


def test_a_factor_stops_at_the_cap():
    assert repeat_factors(one_rare_class(1000, 1), threshold=0.9, cap=4).max() == 4


def test_an_image_takes_the_factor_of_its_rarest_class():
    labels = np.zeros((1000, 3), bool)
    labels[:10, 0] = labels[:40, 1] = labels[500:, 2] = True
    factors = repeat_factors(labels, threshold=0.16, cap=10)
    assert factors[[0, 20, 600]] == pytest.approx([4, 2, 1])


def test_images_without_classes_and_classes_without_images_change_nothing():
    labels = np.zeros((6, 2), bool)
    labels[:3, 0] = True
    assert repeat_factors(labels, threshold=0.05, cap=4).tolist() == [1.0] * 6


def test_an_epoch_without_repeats_is_a_permutation():
    assert sorted(epoch_order(np.ones(50), seed=1, epoch=0)) == list(range(50))


def test_over_many_epochs_each_image_comes_up_as_often_as_its_factor_says():
    factors = np.array([1.0, 2.3, 4.0])
    orders = [epoch_order(factors, seed=1, epoch=epoch) for epoch in range(1000)]
    counts = np.array([np.bincount(order, minlength=3) for order in orders])
    assert counts.mean(axis=0) == pytest.approx(factors, abs=0.05)
    assert set(counts[:, 1]) == {2, 3}


def test_the_order_depends_on_seed_and_epoch():
    first = epoch_order(np.ones(30), seed=1, epoch=0)
    assert np.array_equal(epoch_order(np.ones(30), seed=1, epoch=0), first)
    for seed, epoch in [(1, 1), (2, 0)]:
        assert not np.array_equal(epoch_order(np.ones(30), seed=seed, epoch=epoch), first)
