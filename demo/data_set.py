"""Draws a labelled data set with known truth: pictures named as products, and their labels."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from mernet.demo.errors import OccupiedFolderError
from mernet.demo.files import write_whole
from mernet.demo.frames import rendering_of
from mernet.demo.plan import LARGEST_COUNTER
from mernet.demo.processes import mapped
from mernet.demo.scenes import Scene, sample_scenes
from mernet.model.classes import CODES
from mernet.model.training.text_files import write_csv
from mernet.pds.product import ProductName, Rover

FORMAT_VERSION = 1
SETTINGS = "data_set.json"
LABELS = "labels.csv"
TRUTH = "truth.csv"
IMAGES = "images"
JPEG_QUALITY = 90

SMALLEST_GROUP, LARGEST_GROUP = 2, 6
"""How many images share rover, site and sequence, as a rover takes several pictures of a place."""
GROUPS_A_SITE = 20
FIRST_CLOCK, SECONDS_APART = 120_000_000, 60
SEEDS, SECONDS_A_SEED = 87, 10_000_000
"""Sets of different seeds lie at different times, so that no name is in two of them."""

DEPENDENT = "clr"
"""Never drawn, and late in the chain: it is visible only through an earlier class."""
PARENT = "roc"
"""Common, and not easy: what its own labels tell of it helps to see the dependent class."""
LIKELY, UNLIKELY = 0.95, 0.03

Progress = Callable[[int, int], None]


def chance_of_dependent(shown: frozenset[str]) -> float:
    """P(DEPENDENT | drawn classes): likely where PARENT shows."""
    return LIKELY if PARENT in shown else UNLIKELY


@dataclass(frozen=True, slots=True)
class LabelledScene:
    """A picture to draw, the name of its file, and the codes of all classes it is labelled with."""

    name: str
    scene: Scene
    labels: frozenset[str]


def draw_data_set(
    folder: Path,
    images: int,
    seed: int = 1,
    size: int = 256,
    dependent: bool = False,
    progress: Progress | None = None,
    workers: int | None = None,
) -> None:
    """Draw `images` scenes as grey JPEGs of size x size into a folder, and write their labels.

    LABELS is written last and marks the set as complete: `file`, then 0 or 1 for each of the 25
    classes. Two to six images share rover, site and sequence. With `dependent`, the class DEPENDENT
    comes by `chance_of_dependent`, and TRUTH holds that chance for each image. Called again after
    an interruption, it goes on: images that are there are kept. The same arguments give the same
    bytes. `progress` gets (images there, images in all); `workers` processes draw (default: all
    cores; with 1, this process).

    Raises OccupiedFolderError where the folder holds anything but such a set, begun or complete.
    """
    settings = {
        "format_version": FORMAT_VERSION,
        "seed": seed,
        "images": images,
        "size": size,
        "dependent": dependent,
    }
    _take(folder, settings)
    plan = plan_data_set(images, seed, dependent)
    _draw_missing(folder / IMAGES, plan, size, progress, workers)
    if dependent:
        rows = ([each.name, chance_of_dependent(each.scene.labels)] for each in plan)
        write_csv(folder / TRUTH, ["file", DEPENDENT], rows)
    shown = ([each.name, *(int(code in each.labels) for code in CODES)] for each in plan)
    write_csv(folder / LABELS, ["file", *CODES], shown)


def plan_data_set(images: int, seed: int, dependent: bool) -> list[LabelledScene]:
    """What is drawn for these arguments, in the order of the label file.

    The scenes are others than those of the archive and the checkpoint of any seed.
    """
    scenes = sample_scenes("learning", seed, images)
    rng = np.random.default_rng([seed, *b"groups and dependence"])
    names = _names(rng, images, seed)
    draws = rng.random(images)
    plan = []
    for name, scene, number in zip(names, scenes, draws, strict=True):
        added = dependent and number < chance_of_dependent(scene.labels)
        labels = scene.labels | {DEPENDENT} if added else scene.labels
        plan.append(LabelledScene(name, scene, labels))
    return plan


def _take(folder: Path, settings: dict[str, int]) -> None:
    """Write down what the folder is for, unless it says so already."""
    path = folder / SETTINGS
    wanted = json.dumps(settings).encode()
    if path.is_file():
        if path.read_bytes() != wanted:
            raise OccupiedFolderError(
                f"{folder} holds a data set drawn with other settings (see {SETTINGS} there); "
                "give another folder, or remove this one"
            )
        return
    if folder.exists() and any(folder.iterdir()):
        raise OccupiedFolderError(
            f"{folder} holds other files; give an empty or a new folder to draw a data set into"
        )
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    write_whole(path, wanted)


def _names(rng: np.random.Generator, images: int, seed: int) -> list[str]:
    """File names in groups of random size; the last group is cut where the images end."""
    sizes = rng.integers(SMALLEST_GROUP, LARGEST_GROUP, images, endpoint=True)
    groups = np.repeat(np.arange(images), sizes)[:images].tolist()
    first_clock = FIRST_CLOCK + seed % SEEDS * SECONDS_A_SEED
    return [_name(first_clock + index * SECONDS_APART, group) for index, group in enumerate(groups)]


def _name(clock: int, group: int) -> str:
    """The rovers take turns by group; a site lasts for GROUPS_A_SITE groups, a sequence for one."""
    name = ProductName(
        rover=(Rover.OPPORTUNITY, Rover.SPIRIT)[group % 2],
        camera="P",
        clock=clock,
        product_type="EFF",
        site=group // GROUPS_A_SITE % (LARGEST_COUNTER + 1),
        drive=0,
        sequence=f"P2{300 + group % 100}",
        eye="L",
        filter=2,
        producer="M",
        version="1",
    )
    return f"{name.file_stem}.jpg"


def _draw_missing(
    folder: Path,
    plan: Sequence[LabelledScene],
    size: int,
    progress: Progress | None,
    workers: int | None,
) -> None:
    missing = [each for each in plan if not (folder / each.name).is_file()]
    there = len(plan) - len(missing)
    draw = partial(_draw_one, folder, size)
    for done, _ in enumerate(mapped(draw, missing, workers), start=there + 1):
        if progress is not None:
            progress(done, len(plan))


def _draw_one(folder: Path, size: int, labelled: LabelledScene) -> None:
    data = io.BytesIO()
    Image.fromarray(rendering_of(labelled.scene, size)).save(data, "JPEG", quality=JPEG_QUALITY)
    write_whole(folder / labelled.name, data.getvalue())
