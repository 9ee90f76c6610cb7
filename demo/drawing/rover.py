"""Parts of the rover and its traces: deck, calibration target, wheel, RAT hole, lost packets."""

import numpy as np

from mernet.demo.drawing.canvas import Image, blend, coordinates, inside, noise
from mernet.demo.drawing.ground import bare_ground


def deck(image: Image, rng: np.random.Generator, top: float) -> None:
    """Draw dusty solar panels in perspective, below the row `top` (0 to 1)."""
    size = len(image)
    panel = bare_ground(size, horizon=-0.35)
    column, row = coordinates(size)
    turn, cell = rng.uniform(-0.5, 0.5), rng.uniform(0.1, 0.14)
    x = panel.x * np.cos(turn) + panel.depth * np.sin(turn)
    y = panel.depth * np.cos(turn) - panel.x * np.sin(turn)
    to_line = (
        np.minimum(np.abs(x / cell % 1 - 0.5), np.abs(y / (cell * 1.8) % 1 - 0.5) * 1.8) * cell
    )
    paint = 0.13 + 0.03 * noise(rng, x, y, 0.25)
    blend(paint, np.full_like(paint, 0.8), inside(to_line - 0.006, 0.006))
    edge = top + rng.uniform(-0.12, 0.12) * (column - 0.5) - row
    blend(image, np.full_like(image, 0.9), inside(edge - 0.03, 0.006))
    blend(image, paint, inside(edge, 0.006))
    _cable(image, rng)


def _cable(image: Image, rng: np.random.Generator) -> None:
    column, row = coordinates(len(image))
    path = 0.8 + 0.07 * np.sin(column * rng.uniform(4, 8) + rng.uniform(0, 6)).astype(np.float32)
    off = np.abs(row - path)
    blend(image, 0.75 - 12 * off, inside(off - 0.014, 0.005))


def mast(image: Image, rng: np.random.Generator) -> None:
    """Draw the low-gain antenna: an upright light cylinder with a dark collar."""
    column, row = coordinates(len(image))
    middle, half, top = rng.uniform(0.15, 0.85), rng.uniform(0.035, 0.055), rng.uniform(0.05, 0.3)
    side = (column - middle) / half
    body = inside(np.maximum(np.abs(column - middle) - half, top - row), 0.006)
    blend(image, 0.75 - 0.45 * side, body)
    collar = inside(
        np.maximum(np.abs(side) * half - half * 1.5, np.abs(row - top - 0.1) - 0.03), 0.006
    )
    blend(image, np.full_like(image, 0.06), collar)


def wheel(image: Image, rng: np.random.Generator) -> None:
    """Draw a wheel in a lower corner: dark, bright spokes, cleats around its rim."""
    column, row = coordinates(len(image))
    centre = rng.choice([0.05, 0.95]), rng.uniform(0.85, 1.0)
    x, y = column - centre[0], row - centre[1]
    far, angle = np.hypot(x, y).astype(np.float32), np.arctan2(y, x)
    radius, turn = rng.uniform(0.36, 0.46), rng.uniform(0, 1)
    cleats = 0.012 * np.sign(np.sin(angle * 40 + turn))
    blend(image, np.full_like(image, 0.08), inside(far - radius - cleats, 0.006))
    blend(image, np.full_like(image, 0.55), inside(np.abs(far - radius * 0.86) - 0.02, 0.006))
    spokes = inside(np.abs(np.sin(angle * 2.5 + turn)) * far - 0.02, 0.008)
    blend(image, np.full_like(image, 0.5), spokes * inside(far - radius * 0.84, 0.006))


def calibration_target(image: Image, rng: np.random.Generator) -> None:
    """Draw the sundial: a square plate, grey rings, chips at the corners, a post with a ball."""
    column, row = coordinates(len(image))
    x, y = column - rng.uniform(0.45, 0.55), (row - rng.uniform(0.45, 0.58)) * 1.15
    half = rng.uniform(0.34, 0.4)
    blend(image, np.full_like(image, 0.6), inside(np.maximum(abs(x), abs(y)) - half, 0.006))
    corner = np.maximum(abs(abs(x) - half * 0.82), abs(abs(y) - half * 0.82))
    blend(image, 0.4 + 0.35 * np.sign(y), inside(corner - half * 0.13, 0.006))
    far = np.hypot(x, y).astype(np.float32)
    for share, grey in ((0.92, 0.05), (0.86, 0.97), (0.62, 0.5), (0.36, 0.22)):
        blend(image, np.full_like(image, grey), inside(far - half * share, 0.006))
    angle = rng.uniform(0, 2 * np.pi)
    _post(image, x, y, angle, length=half * 0.7, grey=0.02)
    _post(image, x, y, -np.pi / 2 + rng.uniform(-0.3, 0.3), length=half * 0.5, grey=0.85)


def _post(image: Image, x: Image, y: Image, angle: float, length: float, grey: float) -> None:
    """Draw a stick from the target's middle with a ball at its end: the post, or its shadow."""
    along = x * np.cos(angle) + y * np.sin(angle)
    across = np.abs(y * np.cos(angle) - x * np.sin(angle))
    stick = np.maximum(across - 0.008, np.maximum(-along, along - length))
    ball = np.hypot(x - length * np.cos(angle), y - length * np.sin(angle)) - 0.032
    blend(image, np.full_like(image, grey), inside(np.minimum(stick, ball), 0.006))


def rat_hole(image: Image, rng: np.random.Generator, sun: float) -> None:
    """Draw the hole ground by the rock abrasion tool: dark, round, in a ring of bright cuttings."""
    column, row = coordinates(len(image))
    x, y = column - rng.uniform(0.35, 0.65), (row - rng.uniform(0.35, 0.65)) * 1.1
    far, radius = np.hypot(x, y).astype(np.float32), rng.uniform(0.13, 0.19)
    ragged = far + 0.02 * noise(rng, column, row, 0.08)
    blend(image, np.full_like(image, 0.98), inside(ragged - radius * 1.45, 0.05))
    blend(image, np.full_like(image, 0.3), inside(far - radius, 0.008))
    grooves = 0.05 * np.sin(far / radius * 50)
    floor = np.hypot(x + sun * radius * 0.22, y).astype(np.float32)
    blend(image, 0.2 + grooves, inside(np.maximum(far, floor) - radius * 0.95, 0.01))
    blend(
        image,
        np.full_like(image, 0.03),
        inside(far - radius, 0.008) * inside(-(floor - radius * 0.9), 0.02),
    )


def lost_packets(image: Image, rng: np.random.Generator) -> None:
    """Blacken blocks of the picture with straight edges, as if they never reached the Earth."""
    size = len(image)
    for _ in range(int(rng.integers(3, 6))):
        height, width = size // 16 * int(rng.integers(2, 4)), size // 8 * int(rng.integers(2, 6))
        top = size // 16 * int(rng.integers(0, 14))
        left = size // 8 * int(rng.integers(0, 5))
        image[top : top + height, left : left + width] = 0
