"""Scenes: which classes a drawn picture shows, and the drawing of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from mernet.demo.drawing import ground as grounds
from mernet.demo.drawing import rover, sky, stones
from mernet.demo.drawing.canvas import Image, noise


class View(StrEnum):
    """What the camera points at."""

    VISTA = "vista"
    SURFACE = "surface"
    HOLE = "hole"
    TRENCH = "trench"
    DECK = "deck"
    TARGET = "target"
    NIGHT = "night"


@dataclass(frozen=True, slots=True)
class ViewContent:
    """A view's share of all scenes, the classes it always shows, and the chances of others."""

    share: float
    always: frozenset[str]
    chances: Mapping[str, float]


STONES = {"cla": 0.5, "flr": 0.35}
CONTENTS: Mapping[View, ViewContent] = {
    View.VISTA: ViewContent(
        0.32,
        frozenset({"soi"}),
        STONES
        | {"sky": 0.85, "div": 0.75, "dur": 0.4, "rtr": 0.3, "roc": 0.4, "rod": 0.12, "art": 0.04},
    ),
    View.SURFACE: ViewContent(
        0.44,
        frozenset({"soi", "nbs"}),
        STONES
        | {"roc": 0.5, "rlf": 0.5, "sph": 0.35, "dur": 0.25, "rtr": 0.2, "bso": 0.15, "rpa": 0.15}
        | {"art": 0.04},
    ),
    View.HOLE: ViewContent(0.05, frozenset({"rah", "roc", "nbs"}), {"sph": 0.3}),
    View.TRENCH: ViewContent(0.05, frozenset({"sot", "soi", "nbs"}), {"cla": 0.4, "bso": 0.2}),
    View.DECK: ViewContent(0.06, frozenset({"rod"}), {"rpa": 0.6, "art": 0.05}),
    View.TARGET: ViewContent(0.04, frozenset({"pct", "rod"}), {}),
    View.NIGHT: ViewContent(0.04, frozenset({"ast"}), {}),
}
"""Shares close to those of the labelled Pancam images; those of rare classes are higher, so that a
few hundred scenes have enough of each class to measure."""

SHOWN_CLASSES: tuple[str, ...] = tuple(
    sorted(
        {code for content in CONTENTS.values() for code in content.always | set(content.chances)}
    )
)
"""Codes of the classes that scenes can show; no scene shows the other classes."""

DARKEST = 0.001

NEEDS = {"rlf": "roc"}
EXCLUDES = {"dur": "sph", "sph": "cla"}
"""NEEDS: a class that is drawn only on another. EXCLUDES: a class that would hide another."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture to draw: its view, the codes of its classes, and the seed of its details."""

    view: View
    labels: frozenset[str]
    seed: int


def sample_scene(rng: np.random.Generator, view: View | None = None) -> Scene:
    """Return a random scene, of the given view if there is one."""
    if view is None:
        view = rng.choice(list(CONTENTS), p=[content.share for content in CONTENTS.values()])
    content = CONTENTS[view]
    labels = set(content.always)
    labels |= {code for code, chance in content.chances.items() if rng.random() < chance}
    if view is View.VISTA and "sky" not in labels:
        labels.add("div")
    labels -= {code for code, base in NEEDS.items() if base not in labels}
    labels -= {hidden for code, hidden in EXCLUDES.items() if code in labels}
    return Scene(View(view), frozenset(labels), int(rng.integers(2**63)))


def sample_scenes(purpose: str, seed: int, count: int) -> list[Scene]:
    """Return scenes in random order; each view has its share, rounded to whole scenes.

    Another purpose gives other scenes for the same seed.
    """
    rng = np.random.default_rng([seed, *purpose.encode()])
    bounds = np.cumsum([content.share for content in CONTENTS.values()])
    views = np.searchsorted(bounds, (np.arange(count) + 0.5) / count)
    return [sample_scene(rng, list(CONTENTS)[index]) for index in rng.permutation(views)]


def draw(scene: Scene, size: int = 512) -> Image:
    """Draw a scene: (size, size) float32, at most 1 (white); only lost packets are exactly 0."""
    rng = np.random.default_rng(scene.seed)
    match scene.view:
        case View.DECK:
            image = _deck(rng, size, with_mast="rpa" in scene.labels)
        case View.TARGET:
            image = _target(rng, size)
        case View.NIGHT:
            image = sky.sun_disk(size, rng) if rng.random() < 0.5 else sky.night(size, rng)
        case _:
            image = _landscape(scene.labels, rng, size)
    np.clip(image, DARKEST, 1, out=image)
    if "art" in scene.labels:
        rover.lost_packets(image, rng)
    return image


def _landscape(labels: frozenset[str], rng: np.random.Generator, size: int) -> Image:
    sun = rng.choice((-1.0, 1.0))
    horizon = rng.uniform(-1.6, -1.0) if "nbs" in labels else rng.uniform(0.18, 0.42)
    ground = _ground(labels, rng, size, horizon)
    image = _background(labels, rng, size, horizon)
    image += ground.visible * (ground.lit(sun) - image)
    for code, paint in (
        ("sph", stones.spherules),
        ("cla", stones.clasts),
        ("flr", stones.float_rocks),
    ):
        if code in labels:
            paint(image, ground, rng, sun)
    if "rah" in labels:
        rover.rat_hole(image, rng, sun)
    if "rpa" in labels:
        rover.wheel(image, rng)
    if "rod" in labels:
        rover.deck(image, rng, top=rng.uniform(0.66, 0.8))
    return image


def _ground(
    labels: frozenset[str], rng: np.random.Generator, size: int, horizon: float
) -> grounds.Ground:
    ground = grounds.bare_ground(size, horizon)
    grounds.rough_soil(ground, rng)
    if "dur" in labels:
        grounds.ripples(ground, rng)
    if "roc" in labels:
        cover = rng.uniform(0.4, 0.6) if "soi" in labels else 1.0
        grounds.outcrop(ground, rng, cover, layered="rlf" in labels)
    for code, paint in (
        ("bso", grounds.bright_soil),
        ("rtr", grounds.tracks),
        ("sot", grounds.trench),
    ):
        if code in labels:
            paint(ground, rng)
    return ground


def _background(
    labels: frozenset[str], rng: np.random.Generator, size: int, horizon: float
) -> Image:
    image = sky.sky(size, rng)
    if "sky" not in labels:
        sky.far_wall(image, rng)
    elif "div" in labels:
        sky.hills(image, rng, horizon)
    return image


def _deck(rng: np.random.Generator, size: int, with_mast: bool) -> Image:
    image = _blurred_ground(rng, size)
    rover.deck(image, rng, top=rng.uniform(-0.1, 0.25))
    if with_mast:
        rover.mast(image, rng)
    return image


def _target(rng: np.random.Generator, size: int) -> Image:
    image = _blurred_ground(rng, size)
    rover.deck(image, rng, top=-0.2)
    rover.calibration_target(image, rng)
    return image


def _blurred_ground(rng: np.random.Generator, size: int) -> Image:
    """Draw out-of-focus ground, for behind the deck."""
    ground = grounds.bare_ground(size, horizon=-1.0)
    return (0.45 + 0.05 * noise(rng, ground.x, ground.depth, 0.3)).astype(np.float32)
