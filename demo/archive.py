"""The sample archive: two PDS3 volumes, a PDS4 bundle, and a file of the true classes."""

import csv
import json
import shutil
import zlib
from functools import partial
from pathlib import Path

from PIL import Image as PillowImage

from mernet.demo import index_table, pds3_volume, pds4_bundle
from mernet.demo.camera import Pixels, compand, expose, stretch
from mernet.demo.drawing.canvas import Image
from mernet.demo.parallel import CountCallback, map_in_processes
from mernet.demo.plan import Delivery, Shot, Take, plan_archive
from mernet.demo.raw_product import MISSIONS
from mernet.demo.scenes import SHOWN_CLASSES, draw
from mernet.model.training.text_files import write_text

FORMAT_VERSION = 1
MANIFEST = "archive.json"
TRUTH = "truth.csv"
BUNDLE = "pds4"
TRUNCATED_TO = 0.6
"""The share of its bytes that a truncated file has."""


def write_archive(
    folder: Path,
    seed: int = 1,
    products: int = 240,
    on_progress: CountCallback | None = None,
    processes: int | None = None,
) -> None:
    """Write the archive into a folder, unless the folder holds the same archive already.

    A manifest, written last, marks the archive as complete; what an interrupted call has written
    is deleted and written again.

    Args:
        folder: The archive's folder.
        seed: Another seed gives other scenes.
        products: How many products a run selects by default. One of them is truncated, one missing.
        on_progress: Called with (scenes written, all scenes).
        processes: How many processes draw; None for one a core. With 1, this process draws.
    """
    manifest = {"format_version": FORMAT_VERSION, "seed": seed, "products": products}
    if _is_written(folder, manifest):
        return
    _clear(folder)
    shots = plan_archive(seed, products)
    _write_products(folder, shots, on_progress, processes)
    _write_indexes(folder, shots)
    pds4_bundle.write_bundle(folder / BUNDLE, seed)
    _write_truth(folder / TRUTH, shots)
    write_text(folder / MANIFEST, json.dumps(manifest))


def _is_written(folder: Path, manifest: dict[str, int]) -> bool:
    try:
        return bool(json.loads((folder / MANIFEST).read_text()) == manifest)
    except (FileNotFoundError, json.JSONDecodeError):
        return False


def _clear(folder: Path) -> None:
    """Delete what an earlier call wrote, the manifest first."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    for mission in MISSIONS.values():
        shutil.rmtree(folder / mission.volume, ignore_errors=True)
    shutil.rmtree(folder / BUNDLE, ignore_errors=True)


def _write_products(
    folder: Path, shots: list[Shot], on_progress: CountCallback | None, processes: int | None
) -> None:
    write = partial(_write_shot, folder)
    for done, _ in enumerate(map_in_processes(write, shots, processes), start=1):
        if on_progress is not None:
            on_progress(done, len(shots))


def _write_shot(folder: Path, shot: Shot) -> None:
    """Draw a scene once and write every product that shows it."""
    picture = draw(shot.scene)
    for take in shot.takes:
        pixels = take_pixels(picture, take)
        data = pds3_volume.product_bytes(take.edr, pixels)
        if take.delivery is Delivery.TRUNCATED:
            data = data[: int(len(data) * TRUNCATED_TO)]
        if take.delivery is not Delivery.MISSING:
            _write_file(folder / take.edr.path_name.strip("/") / take.edr.file_name, data)
        if take.wanted:
            _write_browse(folder / take.edr.browse_path, pixels)


def take_pixels(picture: Image, take: Take) -> Pixels:
    """Return the pixels of a product that shows a drawn picture: uint16 (lines, line_samples)."""
    seed = zlib.crc32(str(take.edr.name).encode())
    pixels = expose(picture, take.cut, seed)
    return compand(pixels) if take.edr.companded else pixels


def _write_browse(path: Path, pixels: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(stretch(pixels)).save(path, quality=85)


def _write_indexes(folder: Path, shots: list[Shot]) -> None:
    """Write a table and its label for each volume, sorted by name; missing files are listed too."""
    for mission in MISSIONS.values():
        edrs = sorted(
            (take.edr for shot in shots for take in shot.takes if take.edr.mission is mission),
            key=lambda edr: (edr.sol, str(edr.name)),
        )
        volume_index = folder / mission.volume / "index"
        _write_file(volume_index / "edrindex.tab", index_table.table(edrs).encode("ascii"))
        _write_file(volume_index / "edrindex.lbl", index_table.label(len(edrs)).encode("ascii"))


def _write_truth(path: Path, shots: list[Shot]) -> None:
    """Write a CSV of the wanted products: the expected outcome, and 0 or 1 for each shown class."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["product_id", "expected", "reason", *SHOWN_CLASSES])
        for shot in shots:
            main = shot.takes[0]
            whole = main.delivery is Delivery.WHOLE
            expected = ["classified", ""] if whole else ["failed", str(main.delivery)]
            shown = [int(code in shot.scene.labels) for code in SHOWN_CLASSES]
            writer.writerow([main.edr.name, *expected, *shown])


def _write_file(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
