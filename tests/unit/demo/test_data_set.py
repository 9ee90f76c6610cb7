"""The drawn data set: its labels, and that an interrupted call can be continued."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mernet.demo.camera import rendering_of
from mernet.demo.data_set import (
    DEPENDENT,
    LIKELY,
    PARENT,
    UNLIKELY,
    LabelledScene,
    chance_of_dependent,
    draw_data_set,
    plan_data_set,
)
from mernet.demo.errors import OccupiedFolderError
from mernet.demo.scenes import SHOWN_CLASSES, sample_scenes
from mernet.model.classes import CODES
from mernet.pds.product import ProductName

SEED, IMAGES, SIZE = 5, 13, 48


def draw(folder: Path, **changes: object) -> None:
    draw_data_set(
        folder, **{"images": IMAGES, "seed": SEED, "size": SIZE, "processes": 1} | changes
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    draw(folder, dependent=True)
    return folder


@pytest.fixture(scope="module")
def plan() -> list[LabelledScene]:
    return plan_data_set(3000, SEED, dependent=True)


def group(name: str) -> tuple[str, int | None, str]:
    product = ProductName.parse(name)
    return product.rover, product.site, product.sequence


def test_the_label_file_tells_what_each_scene_shows(drawn: Path):
    with (drawn / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    shown = [frozenset(code for code in CODES if row[code] == "1") for row in rows]
    scenes = sample_scenes("learning", SEED, IMAGES)
    assert [labels - {DEPENDENT} for labels in shown] == [scene.labels for scene in scenes]
    assert list(rows[0]) == ["file", *CODES]


def test_each_picture_is_the_rendering_of_its_scene_as_a_good_jpeg(drawn: Path):
    for labelled in plan_data_set(IMAGES, SEED, dependent=True):
        with Image.open(drawn / "images" / labelled.name) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "L", (SIZE, SIZE))
            decoded = np.asarray(image).astype(float)
        assert np.abs(decoded - rendering_of(labelled.scene, SIZE)).mean() < 4


def test_names_are_those_of_products_and_never_repeat(plan: list[LabelledScene]):
    names = [ProductName.parse(each.name) for each in plan]
    assert [f"{name.file_stem}.jpg" for name in names] == [each.name for each in plan]
    assert len(set(names)) == len(plan)


def test_two_to_six_images_share_rover_site_and_sequence(plan: list[LabelledScene]):
    sizes = list(Counter(group(each.name) for each in plan).values())
    assert set(sizes[:-1]) == {2, 3, 4, 5, 6}
    assert sum(sizes) == len(plan)


def test_two_thousand_images_hold_positives_of_fourteen_classes_and_more():
    counts = Counter(code for each in plan_data_set(2000, 1, False) for code in each.labels)
    assert sum(count >= 40 for count in counts.values()) >= 14


def test_the_dependent_class_comes_as_often_as_its_chance_says(plan: list[LabelledScene]):
    for chance in (LIKELY, UNLIKELY):
        like = [each for each in plan if chance_of_dependent(each.scene.labels) == chance]
        share = np.mean([DEPENDENT in each.labels for each in like])
        assert share == pytest.approx(chance, abs=4 * np.sqrt(chance * (1 - chance) / len(like)))


def test_the_dependent_class_is_likely_where_its_parent_shows_and_only_there():
    assert chance_of_dependent(frozenset({"soi", PARENT})) == LIKELY
    assert chance_of_dependent(frozenset({"soi", "sky"})) == UNLIKELY


def test_the_dependent_class_comes_after_its_parent_in_the_chain_and_is_never_drawn():
    assert CODES.index(PARENT) < CODES.index(DEPENDENT)
    assert PARENT in SHOWN_CLASSES
    assert DEPENDENT not in SHOWN_CLASSES


def test_the_truth_of_the_dependent_class_is_written_beside_the_labels(drawn: Path):
    plan = plan_data_set(IMAGES, SEED, dependent=True)
    with (drawn / "truth.csv").open(newline="") as file:
        rows = [(row["file"], float(row[DEPENDENT])) for row in csv.DictReader(file)]
    assert rows == [(each.name, chance_of_dependent(each.scene.labels)) for each in plan]


def test_dependence_changes_no_picture_and_no_other_label():
    plain, dependent = (plan_data_set(200, SEED, dependent) for dependent in (False, True))
    for one, other in zip(plain, dependent, strict=True):
        assert (one.name, one.scene) == (other.name, other.scene)
        assert other.labels - {DEPENDENT} == one.labels


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(drawn: Path, tmp_path: Path):
    draw(tmp_path / "same", dependent=True)
    draw(tmp_path / "other", dependent=True, seed=SEED + 1)
    assert contents(tmp_path / "same") == contents(drawn)
    assert contents(tmp_path / "other")["labels.csv"] != contents(drawn)["labels.csv"]


def test_interrupted_drawing_goes_on_and_ends_with_the_same_files(drawn: Path, tmp_path: Path):
    def interrupt(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw(tmp_path, dependent=True, on_progress=interrupt)
    assert not (tmp_path / "labels.csv").exists()
    first = {path: path.stat().st_mtime_ns for path in (tmp_path / "images").iterdir()}
    counts: list[tuple[int, int]] = []
    draw(tmp_path, dependent=True, on_progress=lambda *count: counts.append(count))
    assert counts == [(done, IMAGES) for done in range(6, IMAGES + 1)]
    assert {path: path.stat().st_mtime_ns for path in first} == first
    assert contents(tmp_path) == contents(drawn)


def test_several_processes_draw_the_same_set(drawn: Path, tmp_path: Path):
    draw(tmp_path, dependent=True, processes=2)
    assert contents(tmp_path) == contents(drawn)


def test_a_half_written_picture_is_not_taken_for_a_whole_one(drawn: Path, tmp_path: Path):
    draw(tmp_path, dependent=True)
    victim = next((tmp_path / "images").iterdir())
    whole = victim.read_bytes()
    unfinished = victim.rename(victim.with_name(f"{victim.name}.1.part"))
    unfinished.write_bytes(whole[:100])
    draw(tmp_path, dependent=True)
    unfinished.unlink()
    assert contents(tmp_path) == contents(drawn)


def test_a_folder_with_a_set_of_other_settings_is_left_alone(drawn: Path):
    before = contents(drawn)
    with pytest.raises(OccupiedFolderError, match="other settings"):
        draw(drawn, dependent=True, seed=SEED + 1)
    assert contents(drawn) == before


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("words")
    with pytest.raises(OccupiedFolderError, match="other files"):
        draw(tmp_path)
    assert list(contents(tmp_path)) == ["thesis.txt"]


def test_sets_of_different_seeds_share_no_names():
    names = [{each.name for each in plan_data_set(50, seed, dependent=False)} for seed in (1, 2)]
    assert not names[0] & names[1]
