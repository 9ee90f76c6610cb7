"""The sample archive: its files, how the service lists and decodes them, and repeated writing."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mernet.demo.archive import write_archive
from mernet.demo.plan import Delivery, Shot, Take, plan_archive
from mernet.demo.scenes import SHOWN_CLASSES
from mernet.pds.archive import resolve
from mernet.pds.errors import PdsError
from mernet.pds.fetch import Fetcher
from mernet.pds.image import decode
from mernet.pds.listing import LeftOut, LeftOutReason, Selection, list_products
from mernet.pds.product import Product, ProductName
from mernet.pds.rendering import render

VOLUMES = ("mer1po_0xxx", "mer2po_0xxx")


def truth_of(archive: Path) -> dict[str, dict[str, str]]:
    with (archive / "truth.csv").open(newline="") as file:
        return {row["product_id"]: row for row in csv.DictReader(file)}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, by its path in it."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def listed(archive: Path) -> tuple[list[Product], Counter[LeftOutReason]]:
    left_out: Counter[LeftOutReason] = Counter()

    def count(row: LeftOut) -> None:
        left_out[row.reason] += 1

    archives = [resolve(str(archive / volume)) for volume in VOLUMES]
    with Fetcher() as fetcher:
        products = list(list_products(archives, Selection(), fetcher, count, lambda _: None))
    return products, left_out


def test_the_truth_names_exactly_the_products_that_a_run_lists(
    archive: Path, listed: tuple[list[Product], Counter[LeftOutReason]]
) -> None:
    products, _ = listed
    assert {product.product_id for product in products} == set(truth_of(archive))
    assert len(products) == 14


def test_what_is_left_out_has_every_reason_of_a_real_archive(
    listed: tuple[list[Product], Counter[LeftOutReason]], takes: list[Take]
) -> None:
    _, left_out = listed
    assert set(left_out) == {
        LeftOutReason.NOT_HIGH_RESOLUTION,
        LeftOutReason.NOT_LEFT_EYE,
        LeftOutReason.NOT_FILTER_2,
        LeftOutReason.NOT_AN_IMAGE,
        LeftOutReason.SUPERSEDED,
    }
    assert left_out.total() == sum(not take.wanted for take in takes)


def test_every_product_ends_as_the_truth_expects(
    archive: Path, listed: tuple[list[Product], Counter[LeftOutReason]]
) -> None:
    truth = truth_of(archive)
    with Fetcher() as fetcher:
        for product in listed[0]:
            try:
                decode(fetcher.fetch(product.image_url), product.product_id)
                outcome = ("classified", "")
            except PdsError as error:
                outcome = ("failed", error.reason)
            row = truth[product.product_id]
            assert outcome == (row["expected"], row["reason"])


def test_one_product_is_truncated_and_one_is_missing(archive: Path) -> None:
    reasons = Counter(row["reason"] for row in truth_of(archive).values())
    assert reasons == {"": 12, "truncated": 1, "not found": 1}


def test_the_truth_tells_what_each_scene_shows(archive: Path, shots: list[Shot]) -> None:
    truth = truth_of(archive)
    for shot in shots:
        row = truth[str(shot.takes[0].edr.name)]
        assert {code for code in SHOWN_CLASSES if row[code] == "1"} == shot.scene.labels


def test_browse_images_are_the_renderings(archive: Path, takes: list[Take]) -> None:
    for take in takes:
        if take.wanted and take.delivery is Delivery.WHOLE:
            file = archive / take.edr.path_name.strip("/") / take.edr.file_name
            rendering = render(decode(file.read_bytes(), file.name)).astype(int)
            browse = np.asarray(Image.open(archive / take.edr.browse_path))
            assert browse.shape == rendering.shape
            assert np.abs(browse - rendering).mean() < 4


def test_names_reach_beyond_two_characters_and_into_letters() -> None:
    takes = [take for shot in plan_archive(1, 240) for take in shot.takes]
    names = [take.edr.file_name for take in takes]
    assert any(name[14:18] == "____" for name in names)
    assert any(name[14:16] != "__" and name[16:18] == "__" for name in names)
    assert any(name[14].isalpha() for name in names)
    assert all(ProductName.parse(take.edr.file_name) == take.edr.name for take in takes)
    assert len(set(names)) == len(names)


def test_the_default_archive_has_240_wanted_products_of_both_sizes_rovers_and_many_sols() -> None:
    wanted = [take for shot in plan_archive(1, 240) for take in shot.takes if take.wanted]
    assert len(wanted) == 240
    assert {(take.edr.lines, take.edr.line_samples) for take in wanted} == {
        (512, 512),
        (1024, 1024),
    }
    sols = {(take.edr.name.rover, take.edr.sol) for take in wanted}
    assert Counter(rover for rover, _ in sols) == {"Opportunity": 8, "Spirit": 7}


def test_another_seed_gives_other_scenes() -> None:
    first, second = plan_archive(1, 20), plan_archive(2, 20)
    assert not {shot.scene for shot in first} & {shot.scene for shot in second}


def test_a_second_call_writes_nothing(archive: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in archive.rglob("*")}
    write_archive(archive, seed=3, products=14, on_progress=pytest.fail, processes=1)
    assert {path: path.stat().st_mtime_ns for path in archive.rglob("*")} == before


def test_what_an_interrupted_call_left_is_written_anew_in_the_same_bytes_whoever_draws(
    tmp_path: Path,
) -> None:
    counts_seen: list[tuple[int, int]] = []
    write_archive(
        tmp_path, 5, 2, on_progress=lambda *counts: counts_seen.append(counts), processes=2
    )
    assert counts_seen == [(1, 2), (2, 2)]
    complete = contents(tmp_path)
    (tmp_path / "archive.json").unlink()
    (tmp_path / "mer1po_0xxx" / "left_over.img").write_bytes(b"half a fi")
    write_archive(tmp_path, 5, 2, processes=1)
    assert contents(tmp_path) == complete
