"""Loose stones: float rocks, clasts and spherules, each with its shadow."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mernet.demo.drawing.canvas import Image, blend, inside, window
from mernet.demo.drawing.ground import Ground

Row: TypeAlias = NDArray[np.float64]


def float_rocks(image: Image, ground: Ground, rng: np.random.Generator, sun: float) -> None:
    """Draw a few large, dark, angular rocks, from far to near."""
    for column, row in _random_places(ground, rng, count=int(rng.integers(7, 12))):
        radius = rng.uniform(0.09, 0.17) / ground.distance[row, column] ** 0.8
        _rock(image, rng, (column, row), radius * len(image), sun, grey=0.16)


def clasts(image: Image, ground: Ground, rng: np.random.Generator, sun: float) -> None:
    """Draw many small dark stones of uneven size and outline."""
    for column, row in _random_places(ground, rng, count=int(rng.integers(160, 260))):
        radius = rng.gamma(4.0, 0.0035) / ground.distance[row, column] ** 0.7
        _rock(image, rng, (column, row), max(1.2, radius * len(image)), sun, grey=0.08)


def spherules(image: Image, ground: Ground, rng: np.random.Generator, sun: float) -> None:
    """Draw many small balls of the same size, each with a glint."""
    radius = rng.uniform(0.013, 0.017) * len(image)
    for column, row in _random_places(ground, rng, count=int(rng.integers(330, 450))):
        _ball(image, column, row, max(1.5, radius / ground.distance[row, column]), sun)


def _random_places(ground: Ground, rng: np.random.Generator, count: int) -> list[tuple[int, int]]:
    """Return random pixels (column, row) on visible ground, from far to near."""
    size = len(ground.x)
    first_row = int(np.argmax(ground.visible[:, 0] > 0))
    rows = first_row + (size - first_row) * np.sort(rng.uniform(0, 1, count) ** 0.75)
    columns = rng.uniform(0, size, count)
    return list(zip(columns.astype(int).tolist(), rows.astype(int).tolist(), strict=True))


def _rock(
    image: Image,
    rng: np.random.Generator,
    place: tuple[int, int],
    radius: float,
    sun: float,
    grey: float,
) -> None:
    """Draw a convex, faceted stone: the area on the inner side of seven edges."""
    view, x, y = window(image, *place, radius * 2.2)
    angles = (np.arange(7) + rng.uniform(-0.3, 0.3, 7)) * (2 * np.pi / 7)
    across, down = np.cos(angles), np.sin(angles)
    reach = radius * rng.uniform(0.65, 1.05, 7)
    shadow = _beyond(x + sun * 0.7 * radius, y * 1.4 - 0.3 * radius, across, down, reach)
    blend(view, view * 0.3, inside(shadow.max(axis=0), 2.0))
    beyond = _beyond(x, y * 1.15, across, down, reach)
    light = grey * (1 + sun * across - 0.8 * down) + rng.uniform(-0.2, 0.2, 7) * grey
    steep = rng.uniform(0.6, 1.4, 7)[:, None, None]
    facets = light[np.argmax(beyond * steep, axis=0)]
    top = beyond.max(axis=0) < -0.45 * radius
    blend(view, np.where(top, grey * 1.4, facets), inside(beyond.max(axis=0), 1.5))


def _beyond(x: Image, y: Image, across: Row, down: Row, reach: Row) -> NDArray[np.float64]:
    """Return how far each pixel is beyond each edge: (edges, height, width), negative inside."""
    return across[:, None, None] * x + down[:, None, None] * y - reach[:, None, None]


def _ball(image: Image, column: int, row: int, radius: float, sun: float) -> None:
    view, x, y = window(image, column, row, radius * 2.2)
    far = np.hypot(x, y)
    shadow = np.hypot(x + np.float32(sun * 0.9 * radius), y - 0.3 * radius)
    blend(view, view * 0.45, inside(shadow - radius, 1.5))
    light = 0.22 + 0.12 * sun * x / radius - 0.1 * y / radius
    glint = np.hypot(x - np.float32(sun * 0.35 * radius), y + 0.4 * radius)
    blend(view, light, inside(far - radius, 1.2))
    blend(view, 0.98, inside(glint - 0.34 * radius, 1.0))
