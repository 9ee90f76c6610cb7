"""Pixel features keep positions, and their residuals can be viewed as pictures."""

import numpy as np
import pytest

from mernet.model.training.discovery.pixel_features import pixel_features, residual_picture


def test_pictures_of_any_shape_become_squares_of_grey_levels_from_0_to_1():
    pictures = [np.full((40, 90), 255, np.uint8), np.zeros((7, 3), np.uint8)]
    features = pixel_features(pictures, size=32)
    assert (features.shape, features.dtype) == ((2, 1024), np.float32)
    assert (features[0] == 1).all()
    assert (features[1] == 0).all()


def test_a_picture_of_the_requested_size_stays_unchanged():
    picture = np.random.default_rng(0).integers(0, 256, (16, 16)).astype(np.uint8)
    features = pixel_features([picture], size=16)
    assert features[0].reshape(16, 16) * 255 == pytest.approx(picture, abs=1e-3)


def test_a_residual_is_light_above_and_dark_below_the_expected():
    residual = np.zeros(9, np.float32)
    residual[[1, 5]] = 0.2, -0.1
    picture = residual_picture(residual)
    assert (picture.shape, picture.dtype) == ((3, 3), np.uint8)
    assert (picture[0, 1], picture[1, 2], picture[2, 2]) == (255, 64, 128)


def test_no_residual_is_plain_grey():
    assert (residual_picture(np.zeros(4)) == 128).all()
