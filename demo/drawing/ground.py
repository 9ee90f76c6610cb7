"""The ground in perspective: soil, ripples, tracks, bright soil, a trench, outcrop.

The unit of length on the ground is the width of the frame's bottom edge. The drawing functions
change the ground's relief and albedo; `Ground.lit` turns both into a picture under a low sun.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.spatial import cKDTree

from mernet.demo.drawing.canvas import (
    TILE_SIZE,
    Image,
    coordinates,
    inside,
    line_noise,
    noise,
    rough_noise,
    sample_tiles,
    soft_step,
)

_FARTHEST = 60.0
_BLURRED = 30.0
"""The distance beyond which patches of rock are not distinguishable."""
_SUN_GAIN = 0.42
_SLABS_ACROSS = 16


@dataclass(slots=True)
class Ground:
    """What the camera sees of the ground; all arrays are (size, size).

    `x` and `depth` are a pixel's place on the ground, `distance` is how far away it is (1 at the
    bottom edge).
    """

    x: Image
    depth: Image
    distance: Image
    visible: Image
    relief: Image
    albedo: Image

    def lit(self, sun: float) -> Image:
        """Return the picture; `sun` is -1 for light from the left, 1 for light from the right."""
        size = len(self.x)
        across = np.gradient(self.relief, axis=1) * size / self.distance
        step = np.minimum(np.gradient(self.depth, axis=0), -1e-4)
        along = np.gradient(self.relief, axis=0) / step
        slope = np.float32(sun * 0.8) * across + np.float32(0.6) * along
        return np.clip(self.albedo * (1 + _SUN_GAIN * np.tanh(slope * 1.5)), 0, 1)


def bare_ground(size: int, horizon: float) -> Ground:
    """Return bare ground; `horizon` is its row, 0 to 1, or negative for a camera looking down."""
    column, row = coordinates(size)
    below = np.maximum(row - horizon, (1 - horizon) / _FARTHEST)
    distance = ((1 - horizon) / below).astype(np.float32)
    foreshortening = 1.2 if horizon < 0 else 2.5
    return Ground(
        x=(column - 0.5) * distance,
        depth=distance * np.float32((1 - horizon) * foreshortening),
        distance=distance,
        visible=(row > horizon).astype(np.float32),
        relief=np.zeros((size, size), np.float32),
        albedo=np.full((size, size), 0.42, np.float32),
    )


def rough_soil(ground: Ground, rng: np.random.Generator) -> None:
    """Add uneven, mottled soil; fine structure fades out with the distance."""
    for period in (0.4, 0.05):
        bumps = rough_noise(rng, ground.x, ground.depth, period)
        seen = np.clip(period * len(ground.x) / ground.distance / 6 - 1, 0, 1)
        ground.relief += np.float32(0.03 * period) * bumps * seen
        ground.albedo *= 1 + 0.03 * bumps * seen


def ripples(ground: Ground, rng: np.random.Generator) -> None:
    """Add wind ripples: long, wavering, parallel crests, sharp on one side."""
    angle = rng.uniform(-0.5, 0.5)
    spacing = rng.uniform(0.11, 0.17) * (1 if ground.visible.all() else 2.4)
    along = ground.depth * np.cos(angle) + ground.x * np.sin(angle)
    waver = noise(rng, ground.x, ground.depth, spacing * 6) * spacing * 0.35
    phase = ((along + waver) / spacing) % 1
    crest = np.where(phase < 0.7, phase / 0.7, (1 - phase) / 0.3).astype(np.float32)
    seen = np.clip(spacing * len(ground.x) / ground.distance / 10 - 0.4, 0, 1)
    ground.relief += np.float32(spacing * 0.55) * crest * seen
    ground.albedo *= 1 + seen * (0.5 * crest - 0.3)


def tracks(ground: Ground, rng: np.random.Generator) -> None:
    """Add two parallel wheel tracks with cleat marks, running into the distance."""
    start, heading = rng.uniform(-0.15, 0.15), rng.uniform(-0.12, 0.12)
    ahead = ground.depth - ground.depth.min()
    middle = start + heading * ahead + 0.12 * line_noise(rng, ahead, 20.0)
    apart, width, cleat = rng.uniform(0.24, 0.3), rng.uniform(0.075, 0.1), rng.uniform(0.05, 0.07)
    off_axis = np.abs(np.abs(ground.x - middle) - apart)
    rut = inside(off_axis - width, 0.02)
    cleats = (0.5 + 0.5 * np.sign(np.sin(2 * np.pi * ahead / cleat))).astype(np.float32)
    berm = np.exp(-(((off_axis - width * 1.15) / 0.018) ** 2))
    ground.relief *= 1 - 0.8 * rut
    ground.relief += 0.02 * berm - 0.015 * rut
    ground.albedo *= 1 - rut * (0.4 + 0.35 * cleats)
    ground.albedo *= 1 + 0.25 * berm


def bright_soil(ground: Ground, rng: np.random.Generator) -> None:
    """Add fluffy patches of very bright soil, as wheels dig it up."""
    patches = rough_noise(rng, ground.x, ground.depth, 0.7)
    cover = soft_step(patches, float(np.quantile(patches, rng.uniform(0.72, 0.85))), 0.25)
    lumps = noise(rng, ground.x, ground.depth, 0.03)
    ground.albedo += cover * (0.97 + 0.03 * lumps - ground.albedo)
    ground.relief += cover * 0.0012 * lumps


def trench(ground: Ground, rng: np.random.Generator) -> None:
    """Add a trench dug by a wheel: steep dark hole, scraped floor, a heap of soil at its end."""
    angle, length, width = rng.uniform(-0.7, 0.7), rng.uniform(0.3, 0.38), rng.uniform(0.1, 0.14)
    x = ground.x - rng.uniform(-0.1, 0.1)
    y = ground.depth - ground.depth.mean() - rng.uniform(-0.1, 0.1)
    along = x * np.sin(angle) + y * np.cos(angle)
    across = x * np.cos(angle) - y * np.sin(angle)
    edge = 0.015 * noise(rng, ground.x, ground.depth, 0.08)
    hole = inside(np.hypot(along / length, across / width) - 1 + edge / width, 0.25)
    heap = np.exp(-(((along + length * 1.25) / 0.13) ** 2) - (across / 0.17) ** 2)
    lumps = 1 + 0.35 * noise(rng, ground.x, ground.depth, 0.045)
    scrapes = np.sin(2 * np.pi * along / 0.035).astype(np.float32)
    ground.relief += 0.09 * heap * lumps - 0.12 * hole
    ground.albedo *= 1 - hole * (0.72 + 0.12 * scrapes)
    ground.albedo *= 1 + 0.45 * heap


def outcrop(ground: Ground, rng: np.random.Generator, cover: float, layered: bool) -> None:
    """Add bright bedrock to a share of the ground: flat slabs, dark cracks, maybe fine layers."""
    share = rough_noise(rng, ground.x, ground.depth, 0.9)
    threshold = float(np.quantile(share[ground.visible > 0], 1 - cover))
    near = np.clip(_BLURRED / ground.distance - 1, 0, 1)
    rock = soft_step(share, threshold, 0.15) * near
    slab, crack = _slabs(ground, rng, period=rng.uniform(0.16, 0.24))
    seen = np.clip(len(ground.x) / ground.distance / 60 - 0.4, 0, 1)
    brightness = 0.74 + 0.09 * slab * seen + 0.05 * noise(rng, ground.x, ground.depth, 0.04)
    if layered:
        brightness *= _layers(ground, rng)
    brightness *= 1 - 0.75 * crack * seen
    ground.relief *= 1 - 0.6 * rock
    ground.relief += rock * (0.03 - 0.02 * crack)
    ground.albedo += rock * (brightness - ground.albedo)


def _slabs(ground: Ground, rng: np.random.Generator, period: float) -> tuple[Image, Image]:
    """Return a random level (-1 to 1) for each slab, and 1 for cracks between slabs."""
    levels, gaps = _slab_tiles()
    level, gap = sample_tiles(rng, ground.x, ground.depth, period * _SLABS_ACROSS, (levels, gaps))
    return level, inside(gap - 0.09, 0.08)


@cache
def _slab_tiles() -> tuple[Image, Image]:
    """Return the slabs' levels and the gap to the next slab: Voronoi cells of random points."""
    rng = np.random.default_rng(1)
    grid = np.indices((_SLABS_ACROSS, _SLABS_ACROSS)).reshape(2, -1).T
    points = grid + rng.uniform(0.05, 0.95, grid.shape)
    levels = rng.uniform(-1, 1, len(points)).astype(np.float32)
    pixels = np.indices((TILE_SIZE, TILE_SIZE)).reshape(2, -1).T * (_SLABS_ACROSS / TILE_SIZE)
    far, nearest = cKDTree(points, boxsize=_SLABS_ACROSS).query(pixels, k=2, workers=1)
    shape = (TILE_SIZE, TILE_SIZE)
    gap = (far[:, 1] - far[:, 0]).astype(np.float32)
    return levels[nearest[:, 0]].reshape(shape), gap.reshape(shape)


def _layers(ground: Ground, rng: np.random.Generator) -> Image:
    """Return brightness factors of fine parallel beds: below 1 in slightly wavering stripes."""
    angle, spacing = rng.uniform(0, np.pi), rng.uniform(0.04, 0.055)
    along = ground.x * np.cos(angle) + ground.depth * np.sin(angle)
    waver = 0.01 * noise(rng, ground.x, ground.depth, 0.3)
    stripes = np.sin(2 * np.pi * (along + waver) / spacing)
    seen = np.clip(spacing * len(ground.x) / ground.distance / 3 - 0.6, 0, 1)
    return (1 - 0.65 * seen * soft_step(stripes.astype(np.float32), 0.1, 0.8)).astype(np.float32)
