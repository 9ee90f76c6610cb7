"""Above the horizon: sky, far hills, a crater's far wall, and astronomy."""

import numpy as np

from mernet.demo.drawing.canvas import Image, blend, coordinates, inside, line_noise, noise, window


def sky(size: int, rng: np.random.Generator) -> Image:
    """Return a dusty sky: bright, a little darker towards the top, without texture."""
    _, row = coordinates(size)
    return (rng.uniform(0.78, 0.88) + 0.12 * (row - 0.3)).astype(np.float32)


def hills(image: Image, rng: np.random.Generator, horizon: float) -> None:
    """Draw ranges of far hills behind the horizon; the farther, the paler."""
    column, row = coordinates(len(image))
    for haze in (0.62, 0.5):
        height = rng.uniform(0.05, 0.11) * (
            1 + 0.7 * line_noise(rng, column, rng.uniform(0.4, 0.8))
        )
        ridge = horizon - np.maximum(height, 0.02)
        slopes = haze + 0.02 * noise(rng, column, row * 2, 0.05)
        blend(image, slopes, inside(ridge - row, 0.006))


def far_wall(image: Image, rng: np.random.Generator) -> None:
    """Draw a crater's opposite wall above the horizon: hazy, banded slopes."""
    column, row = coordinates(len(image))
    waver = 0.03 * line_noise(rng, column, 0.5)
    bands = line_noise(rng, (row + waver) * 3, 0.25)
    image[:] = 0.62 + 0.05 * bands + 0.02 * noise(rng, column, row * 3, 0.06)


def sun_disk(size: int, rng: np.random.Generator) -> Image:
    """Return the Sun, seen through dust, on a black frame."""
    column, row = coordinates(size)
    centre = rng.uniform(0.3, 0.7, 2)
    far = np.hypot(column - centre[0], row - centre[1]).astype(np.float32)
    radius = rng.uniform(0.06, 0.12)
    image: Image = 0.03 + 0.35 * np.exp(-((far / (radius * 2)) ** 2))
    blend(image, np.ones_like(image), inside(far - radius, 0.01))
    return image


def night(size: int, rng: np.random.Generator) -> Image:
    """Return a night sky: stars as short parallel trails, and a brighter moon."""
    image = np.full((size, size), 0.04, np.float32)
    angle, length = rng.uniform(0, np.pi), rng.uniform(0.01, 0.03) * size
    for index in range(int(rng.integers(25, 45))):
        radius, light = (0.012, 1.0) if index == 0 else (0.003, rng.uniform(0.4, 0.9))
        view, x, y = window(image, rng.uniform(0, size), rng.uniform(0, size), length * 2)
        along = np.abs(x * np.cos(angle) + y * np.sin(angle))
        across = y * np.cos(angle) - x * np.sin(angle)
        far = np.hypot(across, np.maximum(along - length, 0))
        blend(view, light, inside(far - radius * size, 2.0))
    return image
