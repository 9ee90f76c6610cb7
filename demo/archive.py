"""Writes the sample archive: two PDS3 volumes, a PDS4 bundle, and the truth beside them."""

import csv
import json
import shutil
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL import Image as PillowImage

from mernet.demo import index, pds3, pds4
from mernet.demo.drawing.canvas import Image
from mernet.demo.edr import MISSIONS, Edr
from mernet.demo.files import write_whole
from mernet.demo.frames import Pixels, compand, expose, stretch
from mernet.demo.plan import Delivery, Shot, Take, plan_archive
from mernet.demo.processes import mapped
from mernet.demo.scenes import SHOWN_CLASSES, draw

FORMAT_VERSION = 1
MANIFEST = "archive.json"
TRUTH = "truth.csv"
BUNDLE = "pds4"
TRUNCATED_TO = 0.6
"""The share of a truncated file that is there."""

Progress = Callable[[int, int], None]


def write_archive(
    folder: Path,
    seed: int = 1,
    products: int = 240,
    progress: Progress | None = None,
    workers: int | None = None,
) -> None:
    """Write the archive into a folder; where the same one lies there already, do nothing.

    `products` is the number that a default run wants, one truncated and one missing among them.
    `progress` gets (scenes written, scenes in all). `workers` processes draw (all cores by default;
    with 1, this process draws itself). A manifest, written last, marks the archive as complete;
    what an interrupted call left is written anew.
    """
    manifest = {"format_version": FORMAT_VERSION, "seed": seed, "products": products}
    if _is_written(folder, manifest):
        return
    _clear(folder)
    shots = plan_archive(seed, products)
    _write_products(folder, shots, progress, workers)
    _write_indexes(folder, shots)
    pds4.write_bundle(folder / BUNDLE, seed)
    _write_truth(folder / TRUTH, shots)
    write_whole(folder / MANIFEST, json.dumps(manifest).encode())


def _is_written(folder: Path, manifest: dict[str, int]) -> bool:
    try:
        return bool(json.loads((folder / MANIFEST).read_text()) == manifest)
    except (FileNotFoundError, json.JSONDecodeError):
        return False


def _clear(folder: Path) -> None:
    """Remove what an earlier call wrote, the manifest first."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    for mission in MISSIONS.values():
        shutil.rmtree(folder / mission.volume, ignore_errors=True)
    shutil.rmtree(folder / BUNDLE, ignore_errors=True)


def _write_products(
    folder: Path, shots: list[Shot], progress: Progress | None, workers: int | None
) -> None:
    write = partial(_write_shot, folder)
    for done, _ in enumerate(mapped(write, shots, workers), start=1):
        if progress is not None:
            progress(done, len(shots))


def _write_shot(folder: Path, shot: Shot) -> None:
    """Draw a scene once and write every product that shows it."""
    picture = draw(shot.scene)
    for take in shot.takes:
        pixels = take_pixels(picture, take)
        data = pds3.product_bytes(take.edr, pixels)
        if take.delivery is Delivery.TRUNCATED:
            data = data[: int(len(data) * TRUNCATED_TO)]
        if take.delivery is not Delivery.MISSING:
            _write(folder / take.edr.path_name.strip("/") / take.edr.file_name, data)
        if take.wanted:
            _write_browse(folder / take.edr.browse_path, pixels)


def take_pixels(picture: Image, take: Take) -> Pixels:
    """The numbers that a product holds of a drawn picture: uint16, lines x samples."""
    seed = zlib.crc32(str(take.edr.name).encode())
    pixels = expose(picture, take.cut, seed)
    return compand(pixels) if take.edr.companded else pixels


def _write_browse(path: Path, pixels: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(stretch(pixels)).save(path, quality=85)


def _write_indexes(folder: Path, shots: list[Shot]) -> None:
    """One table and label for each volume, listing what is missing too, in the order of names."""
    for mission in MISSIONS.values():
        edrs = sorted(
            (edr for shot in shots for edr in _edrs(shot) if edr.mission is mission),
            key=lambda edr: (edr.sol, str(edr.name)),
        )
        volume_index = folder / mission.volume / "index"
        _write(volume_index / "edrindex.tab", index.table(edrs).encode("ascii"))
        _write(volume_index / "edrindex.lbl", index.label(len(edrs)).encode("ascii"))


def _edrs(shot: Shot) -> list[Edr]:
    return [take.edr for take in shot.takes]


def _write_truth(path: Path, shots: list[Shot]) -> None:
    """CSV of every wanted product: what becomes of it, and 0 or 1 for each class in `scenes`."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["product_id", "expected", "reason", *SHOWN_CLASSES])
        for shot in shots:
            main = shot.takes[0]
            whole = main.delivery is Delivery.WHOLE
            expected = ["classified", ""] if whole else ["failed", str(main.delivery)]
            shown = [int(code in shot.scene.labels) for code in SHOWN_CLASSES]
            writer.writerow([main.edr.name, *expected, *shown])


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
