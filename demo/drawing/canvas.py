"""Pixel coordinates, shapes with soft edges and smooth noise, used by all drawing functions."""

from collections.abc import Sequence
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Image: TypeAlias = NDArray[np.floating]
"""A grey picture, or a field over its pixels; pictures are square and float32."""

TILE_SIZE = 512
"""Side of a tile of noise, in pixels."""

_BUMP = 8
"""Pixels of the noise tile from bump to bump."""


def coordinates(size: int) -> tuple[Image, Image]:
    """Return column and row of each pixel's centre, 0 to 1: two (size, size) arrays."""
    row, column = (np.indices((size, size), np.float32) + np.float32(0.5)) / size
    return column, row


def noise(rng: np.random.Generator, x: Image, y: Image, period: float) -> Image:
    """Return smooth noise at the points (x, y): mean 0, deviation 1, a bump each `period`."""
    (values,) = sample_tiles(rng, x, y, period * TILE_SIZE / _BUMP, (_noise_tile(),))
    return values


def rough_noise(rng: np.random.Generator, x: Image, y: Image, period: float) -> Image:
    """Return noise as `noise` does, with two finer octaves added."""
    (values,) = sample_tiles(rng, x, y, period * TILE_SIZE / _BUMP, (_rough_tile(),))
    return values


def sample_tiles(
    rng: np.random.Generator, x: Image, y: Image, width: float, tiles: Sequence[Image]
) -> list[Image]:
    """Return the values of endlessly repeated tiles, each `width` wide, at the points (x, y).

    All tiles are rotated and shifted in the same random way, which costs far less than a new tile
    for each picture.
    """
    angle = rng.uniform(0, 2 * np.pi)
    shift = rng.uniform(0, TILE_SIZE, 2)
    scale = TILE_SIZE / width
    cos, sin = np.float32(np.cos(angle) * scale), np.float32(np.sin(angle) * scale)
    points = np.stack((cos * x - sin * y + shift[0], sin * x + cos * y + shift[1]))
    return [
        ndimage.map_coordinates(tile, points, output=np.float32, order=1, mode="grid-wrap")
        for tile in tiles
    ]


def line_noise(rng: np.random.Generator, x: Image, period: float) -> Image:
    """Return smooth noise along a line: that of `noise` at the points (x, 0)."""
    return noise(rng, x, np.zeros_like(x), period)


def blend(image: Image, paint: Image | float, cover: Image) -> None:
    """Lay `paint` over the image in place, as opaque at each pixel as `cover` (0 to 1) says."""
    image += cover * (paint - image)


def inside(distance: Image, softness: float) -> Image:
    """Return a shape's cover with a soft edge, from the distance to its edge, negative inside."""
    cover: Image = np.clip(0.5 - distance / softness, 0, 1)
    return cover


def soft_step(values: Image, threshold: float, width: float) -> Image:
    """Return 0 below the threshold and 1 above it, with a smooth rise over `width`."""
    ramp: Image = np.clip((values - threshold) / width + 0.5, 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def window(image: Image, column: float, row: float, reach: float) -> tuple[Image, Image, Image]:
    """Return a view of the image, `reach` pixels around a point, and its x and y from the point."""
    left, top = max(0, int(column - reach)), max(0, int(row - reach))
    view = image[top : max(0, int(row + reach) + 1), left : max(0, int(column + reach) + 1)]
    offsets = np.indices(view.shape, np.float32)
    return view, offsets[1] + (left - column), offsets[0] + (top - row)


@cache
def _noise_tile() -> Image:
    return _blurred(seed=0, blur=3.0)


@cache
def _rough_tile() -> Image:
    octaves: Image = _blurred(0, 3.0) + 0.6 * _blurred(1, 1.5) + 0.36 * _blurred(2, 0.75)
    octaves /= octaves.std()
    return octaves


def _blurred(seed: int, blur: float) -> Image:
    white = np.random.default_rng(seed).standard_normal((TILE_SIZE, TILE_SIZE), np.float32)
    smooth = ndimage.gaussian_filter(white, blur, mode="wrap")
    tile: Image = (smooth - smooth.mean()) / smooth.std()
    return tile
