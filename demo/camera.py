"""From a drawn picture to the pixels of a Pancam product: cut, noise, 12 bits, companding."""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from mernet.demo.drawing.canvas import Image
from mernet.demo.scenes import DARKEST, Scene, draw

Pixels = NDArray[np.uint16]

DRAWN_SIZE = 512
FULL_SCALE = 4095
BIAS = 30
READ_NOISE = 8
LARGE_GRAIN = 0.01
"""Standard deviation of the grain added to an enlarged picture; white is 1."""


class Cut(StrEnum):
    """How much of a drawn picture a product shows."""

    FULL = "full frame, 1024x1024"
    HALF = "downsampled to 512x512"
    PART = "sub-frame, 192x320"
    THUMBNAIL = "thumbnail, 64x64"
    REFERENCE = "reference pixels, 1024x32"


SHAPES: dict[Cut, tuple[int, int]] = {
    Cut.FULL: (1024, 1024),
    Cut.HALF: (512, 512),
    Cut.PART: (192, 320),
    Cut.THUMBNAIL: (64, 64),
    Cut.REFERENCE: (1024, 32),
}
"""Lines and samples of each cut."""


def photograph(scene: Scene, size: int = DRAWN_SIZE) -> Pixels:
    """Return the pixels of a square product that shows the scene: uint16, 0 to 4095.

    For sizes above 512, the picture of 512 is enlarged. The same scene always gives the same
    pixels.
    """
    picture = draw(scene, min(size, DRAWN_SIZE))
    return expose(picture, Cut.FULL if size > DRAWN_SIZE else Cut.HALF, scene.seed)


def expose(picture: Image, cut: Cut, seed: int) -> Pixels:
    """Cut and digitise a drawn picture: uint16 of the cut's shape, 0 to 4095.

    Pixels that are exactly black stand for lost packets and stay 0, as in the archive.
    """
    rng = np.random.default_rng(seed)
    part = _cut(picture, cut, rng)
    gain = rng.uniform(0.6, 0.95) * FULL_SCALE
    numbers = BIAS + gain * part + rng.normal(0, READ_NOISE, part.shape)
    counts = np.where(part > 0, numbers.clip(1, FULL_SCALE), 0)
    pixels: Pixels = np.rint(counts).astype(np.uint16)
    return pixels


def compand(pixels: Pixels) -> Pixels:
    """Compress 12 bits to 8 by a square-root table, as the rover does before transmission."""
    packed: Pixels = np.rint(np.sqrt(pixels / FULL_SCALE) * 255).astype(np.uint16)
    return packed


def stretch(pixels: Pixels) -> NDArray[np.uint8]:
    """Return the archive's browse picture: 8 bits, linear from the minimum to the maximum."""
    low, high = float(pixels.min()), float(pixels.max())
    rendering: NDArray[np.uint8] = np.rint((pixels - low) * (255 / (high - low))).astype(np.uint8)
    return rendering


def rendering_of(scene: Scene, size: int) -> NDArray[np.uint8]:
    """Return a square browse picture of the scene, with that size."""
    return stretch(photograph(scene, size))


def _cut(picture: Image, cut: Cut, rng: np.random.Generator) -> Image:
    lines, samples = SHAPES[cut]
    match cut:
        case Cut.FULL:
            return _enlarged(picture, rng)
        case Cut.HALF:
            return picture
        case Cut.PART:
            return picture[100 : 100 + lines, 60 : 60 + samples]
        case Cut.THUMBNAIL:
            step = DRAWN_SIZE // lines
            mean: Image = picture.reshape(lines, step, samples, step).mean(axis=(1, 3))
            return mean
        case Cut.REFERENCE:
            return np.full((lines, samples), DARKEST, np.float32)


def _enlarged(picture: Image, rng: np.random.Generator) -> Image:
    """Double the size and add grain, except in lost packets."""
    large = np.kron(picture, np.ones((2, 2), np.float32))
    grain = rng.normal(0, LARGE_GRAIN, large.shape)
    grainy: Image = np.where(large > 0, np.clip(large + grain, DARKEST, 1), 0)
    return grainy
