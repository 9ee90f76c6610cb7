"""Batches of fine-tuning: which pictures each step shows."""

from itertools import islice

import numpy as np
import pytest
import torch

from mernet.model.backbone import preprocess
from mernet.model.errors import TrainingError
from mernet.model.training.finetuning.batches import (
    load_batch,
    prepare_images,
    training_batches,
    validation_batches,
)
from mernet.model.training.finetuning.recipes import RECIPES, AugmentationRanges, Recipe

LABELS = np.ones((5, 1), bool)
PLAIN = RECIPES["paper"].changed(batch_size=4, variants=3, validation_variants=3)


def shown_samples(
    recipe: Recipe, steps: int, labels: np.ndarray = LABELS, seed: int = 0
) -> np.ndarray:
    """The pictures (steps * batch_size, 2) of the first steps."""
    return np.concatenate(list(islice(training_batches(labels, recipe, seed), steps)))


def test_an_epoch_shows_every_variant_of_every_image_once():
    epochs = shown_samples(PLAIN, steps=15).reshape(4, 15, 2)
    everything = {(image, variant) for image in range(5) for variant in range(3)}
    for epoch in epochs:
        assert {(image, variant) for image, variant in epoch.tolist()} == everything
    assert not np.array_equal(epochs[0], epochs[1])


def test_fresh_variants_are_never_repeated_and_originals_stay_originals():
    images, variants = shown_samples(PLAIN.changed(fresh_variants=True), steps=150).T
    warped = variants[variants > 0]
    assert len(set(warped)) == len(warped) == 400
    assert np.bincount(images[variants == 0]).tolist() == [40] * 5


def test_images_of_a_rare_class_are_shown_more_often():
    labels = np.arange(100)[:, None] < 1
    recipe = PLAIN.changed(batch_size=3, repeat_threshold=0.04, repeat_cap=4.0)
    assert np.bincount(shown_samples(recipe, 101, labels)[:, 0]).tolist() == [2 * 3] + [3] * 99


def test_samples_from_a_later_step_on_are_those_of_the_whole_run():
    recipe = RECIPES["best"].changed(batch_size=4)
    labels = np.random.default_rng(0).random((30, 4)) < 0.1
    later = next(training_batches(labels, recipe, seed=3, start=97))
    assert np.array_equal(later, shown_samples(recipe, 98, labels, seed=3)[-4:])


def test_validation_shows_everything_once_in_order():
    batches = list(validation_batches(5, PLAIN))
    assert [len(batch) for batch in batches] == [4, 4, 4, 3]
    assert np.concatenate(batches).tolist() == [[i, v] for i in range(5) for v in range(3)]


def test_an_original_is_as_in_classification_except_for_rounding_to_8_bits():
    random = np.random.default_rng(1)
    pictures = [random.integers(0, 256, (70, 50 + i), dtype=np.uint8) for i in range(3)]
    images = prepare_images(pictures, np.eye(3, dtype=bool), size=32)
    inputs, labels = load_batch(images, np.array([[2, 0], [0, 0]]), 0, AugmentationRanges())
    expected = preprocess([pictures[2], pictures[0]], 32)
    torch.testing.assert_close(inputs, expected, atol=0.5 / 255 / 0.22, rtol=0)
    assert labels.tolist() == [[0, 0, 1], [1, 0, 0]]


def test_a_warped_picture_depends_only_on_seed_image_and_variant():
    pictures = np.random.default_rng(2).integers(0, 256, (3, 32, 32), dtype=np.uint8)
    images = prepare_images(pictures, np.eye(3, dtype=bool), size=32)
    samples = np.array([[0, 0], [1, 5], [2, 5]])
    together = load_batch(images, samples, 7, AugmentationRanges())[0]
    alone = load_batch(images, samples[1:2], 7, AugmentationRanges())[0]
    torch.testing.assert_close(alone[0], together[1])
    assert not torch.equal(load_batch(images, samples[1:2], 8, AugmentationRanges())[0], alone)


def test_any_change_of_pixels_or_labels_changes_the_digest():
    pictures = np.random.default_rng(3).integers(0, 255, (2, 32, 32), dtype=np.uint8)
    labels = np.array([[True, False], [False, False]])
    digest = prepare_images(pictures, labels, 32).digest()
    assert prepare_images(pictures, labels, 32).digest() == digest
    assert prepare_images(pictures, ~labels, 32).digest() != digest
    pictures[1, 0, 0] += 1
    assert prepare_images(pictures, labels, 32).digest() != digest


@pytest.mark.parametrize("rows", [0, 1])
def test_pictures_without_labels_and_no_pictures_at_all_are_refused(rows: int):
    with pytest.raises(TrainingError, match=f"0 pictures with {rows} rows of labels"):
        prepare_images([], np.ones((rows, 2), bool), 32)
