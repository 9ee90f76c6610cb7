"""Pixel features: small copies of pictures, and pictures of what is novel in them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mernet.model.pictures import Picture


def pixel_features(pictures: Sequence[Picture], size: int) -> NDArray[np.float32]:
    """Return grey levels 0 to 1 (N, size * size) float32 of pictures, each resized to a square."""
    features = np.empty((len(pictures), size * size), np.float32)
    for row, picture in zip(features, pictures, strict=True):
        small = Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR)
        row[:] = np.asarray(small, np.float32).ravel() / 255
    return features


def residual_picture(residual: NDArray[np.floating]) -> Picture:
    """Return a residual of `pixel_features` (size * size,) as a picture (size, size).

    Mid-grey is as expected, lighter and darker are lighter and darker than expected; the largest
    difference is white or black.
    """
    side = int(np.sqrt(residual.size))
    largest = float(np.abs(residual).max()) or 1.0
    picture: Picture = np.rint(127.5 + 127.5 * residual / largest).astype(np.uint8)
    return picture.reshape(side, side)
