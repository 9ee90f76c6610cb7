"""A drawn, labelled data set with known truth: pictures named like products, and their labels."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from mernet.atomic_file import replacing_file
from mernet.demo.camera import rendering_of
from mernet.demo.errors import OccupiedFolderError
from mernet.demo.parallel import CountCallback, map_in_processes
from mernet.demo.plan import LARGEST_COUNTER
from mernet.demo.scenes import Scene, sample_scenes
from mernet.model.classes import CODES
from mernet.model.training.text_files import write_csv, write_text
from mernet.pds.product import ProductName, Rover

FORMAT_VERSION = 1
SETTINGS = "data_set.json"
LABELS = "labels.csv"
TRUTH = "truth.csv"
IMAGES = "images"
JPEG_QUALITY = 90

SMALLEST_GROUP, LARGEST_GROUP = 2, 6
"""How many images have the same rover, site and sequence: a rover takes several of each place."""
GROUPS_PER_SITE = 20
FIRST_CLOCK, SECONDS_APART = 120_000_000, 60
SEEDS, SECONDS_PER_SEED = 87, 10_000_000
"""Data sets of different seeds have different times, so that no name is in two of them."""

DEPENDENT = "clr"
"""A class that is never drawn, late in the chain: only an earlier class hints at it."""
PARENT = "roc"
"""A common class that is not easy to recognise: its labels help to predict the dependent class."""
LIKELY, UNLIKELY = 0.95, 0.03


def chance_of_dependent(shown: frozenset[str]) -> float:
    """Return P(DEPENDENT | drawn classes): LIKELY if PARENT is among them."""
    return LIKELY if PARENT in shown else UNLIKELY


@dataclass(frozen=True, slots=True)
class LabelledScene:
    """A picture to draw, its file name, and the codes of all its labels."""

    name: str
    scene: Scene
    labels: frozenset[str]


def draw_data_set(
    folder: Path,
    images: int,
    seed: int = 1,
    size: int = 256,
    dependent: bool = False,
    on_progress: CountCallback | None = None,
    processes: int | None = None,
) -> None:
    """Draw scenes as grey JPEGs into a folder, and write their labels.

    LABELS is written last and marks the set as complete: `file`, then 0 or 1 for each of the 25
    classes. Two to six images have the same rover, site and sequence. A call after an interruption
    continues: existing images are not drawn again. The same arguments give the same bytes.

    Args:
        folder: The data set's folder.
        images: How many images.
        seed: Another seed gives other scenes.
        size: Width and height of an image, in pixels.
        dependent: Label images with the class DEPENDENT at random, by `chance_of_dependent`, and
            write that chance for each image into the file TRUTH.
        on_progress: Called with (finished images, all images).
        processes: How many processes draw; None for one a core. With 1, this process draws.

    Raises:
        OccupiedFolderError: The folder holds something other than this data set, complete or not.
    """
    settings = {
        "format_version": FORMAT_VERSION,
        "seed": seed,
        "images": images,
        "size": size,
        "dependent": dependent,
    }
    _claim_folder(folder, settings)
    plan = plan_data_set(images, seed, dependent)
    _draw_missing(folder / IMAGES, plan, size, on_progress, processes)
    if dependent:
        rows = ([each.name, chance_of_dependent(each.scene.labels)] for each in plan)
        write_csv(folder / TRUTH, ["file", DEPENDENT], rows)
    shown = ([each.name, *(int(code in each.labels) for code in CODES)] for each in plan)
    write_csv(folder / LABELS, ["file", *CODES], shown)


def plan_data_set(images: int, seed: int, dependent: bool) -> list[LabelledScene]:
    """Return what to draw for these arguments, in the order of the label file.

    The scenes differ from those of the archive and of the checkpoint, for any seed.
    """
    scenes = sample_scenes("learning", seed, images)
    rng = np.random.default_rng([seed, *b"groups and dependence"])
    names = _file_names(rng, images, seed)
    draws = rng.random(images)
    plan = []
    for name, scene, number in zip(names, scenes, draws, strict=True):
        added = dependent and number < chance_of_dependent(scene.labels)
        labels = scene.labels | {DEPENDENT} if added else scene.labels
        plan.append(LabelledScene(name, scene, labels))
    return plan


def _claim_folder(folder: Path, settings: dict[str, int]) -> None:
    """Write the settings into the folder, unless it has the same ones already."""
    path = folder / SETTINGS
    wanted = json.dumps(settings)
    if path.is_file():
        if path.read_text() != wanted:
            raise OccupiedFolderError(
                f"{folder} holds a data set drawn with other settings (see {SETTINGS} there); "
                "give another folder, or delete this one"
            )
        return
    if folder.exists() and any(folder.iterdir()):
        raise OccupiedFolderError(f"{folder} holds other files; give an empty or a new folder")
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    write_text(path, wanted)


def _file_names(rng: np.random.Generator, images: int, seed: int) -> list[str]:
    """Return file names in groups of random size; the last group may be smaller."""
    sizes = rng.integers(SMALLEST_GROUP, LARGEST_GROUP, images, endpoint=True)
    groups = np.repeat(np.arange(images), sizes)[:images].tolist()
    first_clock = FIRST_CLOCK + seed % SEEDS * SECONDS_PER_SEED
    return [
        _file_name(first_clock + index * SECONDS_APART, group) for index, group in enumerate(groups)
    ]


def _file_name(clock: int, group: int) -> str:
    """Return a file name. Rover and sequence change with each group, the site less often."""
    name = ProductName(
        rover=(Rover.OPPORTUNITY, Rover.SPIRIT)[group % 2],
        camera="P",
        clock=clock,
        product_type="EFF",
        site=group // GROUPS_PER_SITE % (LARGEST_COUNTER + 1),
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
    on_progress: CountCallback | None,
    processes: int | None,
) -> None:
    missing = [each for each in plan if not (folder / each.name).is_file()]
    there = len(plan) - len(missing)
    draw = partial(_draw_one, folder, size)
    for done, _ in enumerate(map_in_processes(draw, missing, processes), start=there + 1):
        if on_progress is not None:
            on_progress(done, len(plan))


def _draw_one(folder: Path, size: int, labelled: LabelledScene) -> None:
    image = Image.fromarray(rendering_of(labelled.scene, size))
    with replacing_file(folder / labelled.name) as unfinished:
        image.save(unfinished, "JPEG", quality=JPEG_QUALITY)
