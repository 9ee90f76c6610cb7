"""`mernet data` on small sets and on the sample archive of the demo."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from mernet.cli.commands import app
from mernet.cli.learning.image_groups import group_of, groups_of
from mernet.demo import index_table
from mernet.demo.plan import Take, plan_archive
from mernet.model.errors import DataSetError
from mernet.model.training.data.zooniverse import COLUMNS

NAMES = [f"2p{130000000 + n}eff0{n // 4 % 5}00p23{n // 20:02d}l2m1.jpg" for n in range(100)]


def run(*words: str | Path) -> str:
    """What a command prints on standard output."""
    ran = CliRunner().invoke(app, ["data", *map(str, words)], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return ran.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """100 images in groups of four that share site and sequence."""
    random = np.random.default_rng(0)
    place = tmp_path / "set"
    place.mkdir()
    for number, name in enumerate(NAMES):
        Image.new("L", (2, 2), number).save(place / name)
    lines = [f"{name},{random.integers(2)},{random.integers(2)}" for name in NAMES]
    (place / "labels.csv").write_text("\n".join(["file,sky,soi", *lines]))
    return place


def test_describe_counts_classes_and_prints_the_digest(folder: Path):
    shown = run("describe", folder, "--co-occurrence")
    found = json.loads(run("describe", folder, "--json"))
    assert found["images"] == 100
    assert found["digest"] in shown
    sky = next(each for each in found["classes"] if each["code"] == "sky")
    assert sky["count"] == found["co_occurrence"][20][20] > 30
    assert sky["group"] == "majority"


def test_a_split_is_written_and_describe_counts_by_it(folder: Path, tmp_path: Path):
    file = tmp_path / "split.csv"
    assert "Soil" in run("split", folder, "--out", file, "--seed", "3")
    found = json.loads(run("describe", folder, "--split", file, "--json"))
    assert found["by_part"] == {"train": 60, "validation": 16, "test": 24}
    part_of = {row["file"]: row["part"] for row in csv.DictReader(file.open())}
    for first in range(0, 100, 4):
        assert len({part_of[name] for name in NAMES[first : first + 4]}) == 1


def test_own_parts_are_kept_on_request(folder: Path, tmp_path: Path):
    lines = [f"{name},sky,{'train' if place < 80 else 'val'}" for place, name in enumerate(NAMES)]
    (folder / "labels.csv").write_text("\n".join(["file,label,split", *lines]))
    run("split", folder, "--out", tmp_path / "split.csv", "--keep-parts")
    found = json.loads(run("describe", folder, "--split", tmp_path / "split.csv", "--json"))
    assert found["by_part"]["train"] == 80
    assert min(found["by_part"]["validation"], found["by_part"]["test"]) >= 8


@pytest.mark.parametrize("shares", ["half", "0.5,0.5", "0.9,0.2,0.1"])
def test_invalid_shares_are_refused(folder: Path, tmp_path: Path, shares: str):
    words = ["split", str(folder), "--out", str(tmp_path / "split.csv"), "--shares", shares]
    ran = CliRunner().invoke(app, ["data", *words])
    assert ran.exit_code != 0
    assert isinstance(ran.exception, DataSetError) or "shares" in ran.output
    assert not (tmp_path / "split.csv").exists()


def test_a_seed_below_zero_is_refused(folder: Path, tmp_path: Path):
    words = ["split", str(folder), "--out", str(tmp_path / "split.csv"), "--seed", "-1"]
    assert CliRunner().invoke(app, ["data", *words]).exit_code == 2


def test_images_of_one_rover_site_and_sequence_are_one_group():
    same = ["2P295043688FFLB1DNP2380L2M1.IMG", "2p295043999effb1aap2380l2m2.img.jpg"]
    others = ["1" + same[0][1:], same[0].replace("P2380", "P2381"), same[0].replace("B1DN", "B2DN")]
    assert len(set(groups_of(same, None))) == 1
    assert len(set(groups_of([same[0], *others], None))) == 4


def test_each_other_name_is_its_own_group_unless_a_pattern_matches():
    names = ["0077ML0005.JPG", "0077MR0006.JPG", "0078ML0005.JPG"]
    assert groups_of(names, None) == names
    assert groups_of(names, r"^(\d{4})") == ["0077", "0077", "0078"]
    assert groups_of([*names, "none.jpg"], r"^(\d{4})")[3] == "none.jpg"
    assert group_of("anything", None) == "anything"


def test_a_pattern_that_matches_no_name_is_refused():
    with pytest.raises(typer.BadParameter, match=r"matches no file name, such as 'a\\x1b\.jpg'"):
        groups_of(["a\x1b.jpg"], r"^(\d{4})")


@pytest.mark.parametrize("pattern", ["(", "^abc"])
def test_a_pattern_without_a_group_is_refused(pattern: str):
    with pytest.raises(typer.BadParameter):
        groups_of(["a.jpg"], pattern)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[Take]]:
    """Two volumes that hold nothing but their index tables, and what the tables list."""
    root = tmp_path_factory.mktemp("volumes")
    takes = [take for shot in plan_archive(seed=1, products=120) for take in shot.takes]
    missions = {take.edr.mission.volume: take.edr.mission for take in takes}
    for volume, mission in missions.items():
        edrs = [take.edr for take in takes if take.edr.mission is mission]
        folder = root / volume / "index"
        folder.mkdir(parents=True)
        (folder / "edrindex.tab").write_bytes(index_table.table(edrs).encode("ascii"))
        (folder / "edrindex.lbl").write_bytes(index_table.label(len(edrs)).encode("ascii"))
    return [root / volume for volume in missions], takes


def drawn_from(*words: str | Path, into: Path) -> list[dict[str, str]]:
    run("sample", *words, "--out", into)
    with into.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_sample_has_its_share_of_each_site_and_only_of_wanted_products(volumes, tmp_path: Path):
    folders, takes = volumes
    drawn = drawn_from(*folders, "--fraction", "0.2", into=tmp_path / "sample.csv")
    wanted = {str(take.edr.name): take.edr for take in takes if take.wanted}
    assert {row["product_id"] for row in drawn} <= wanted.keys()
    sites = Counter((str(edr.name.rover), str(edr.motion[0])) for edr in wanted.values())
    expected = {place: -(-count // 5) for place, count in sites.items()}
    assert Counter((row["rover"], row["site"]) for row in drawn) == expected
    assert all(row["image_url"].startswith("file://") for row in drawn)


def test_a_sample_depends_on_its_seed_and_not_on_the_order_of_the_listing(volumes, tmp_path: Path):
    (first, second), _ = volumes
    drawn = drawn_from(first, second, "--seed", "4", into=tmp_path / "one.csv")
    assert drawn == drawn_from(second, first, "--seed", "4", into=tmp_path / "two.csv")
    assert drawn != drawn_from(first, second, "--seed", "5", into=tmp_path / "three.csv")


def test_a_sample_reports_what_was_eligible_drawn_and_left_out(volumes, tmp_path: Path):
    folders, takes = volumes
    found = json.loads(run("sample", *folders, "--json", "--out", tmp_path / "sample.csv"))
    assert {each["rover"] for each in found["rovers"]} == {"Opportunity", "Spirit"}
    eligible = sum(each["eligible"] for each in found["rovers"])
    assert eligible == sum(take.wanted for take in takes)
    assert eligible + sum(found["left_out"].values()) == len(takes)


def test_labels_come_from_a_zooniverse_export(tmp_path: Path):
    annotations = json.dumps([{"task": "T0", "value": ["Sky", "Nothing"]}])
    subject = json.dumps({"5": {"Filename": "a.jpg"}})
    with (tmp_path / "export.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number in range(3):
            time = "2018-03-01 12:00:00 UTC"
            writer.writerow([number, number, "x", 1, time, annotations, subject])
    words = ["consensus", tmp_path / "export.csv", "--out", tmp_path / "labels.csv"]
    found = json.loads(run(*words, "--retirement", "3", "--json"))
    assert found["images"] == 1
    assert found["unknown"] == {"Nothing": 3}
    assert "a.jpg" in run(*words, "--retirement", "2")
    (row,) = csv.DictReader((tmp_path / "labels.csv").open())
    assert (row["sky"], row["soi"], row["sky_share"], row["volunteers"]) == ("1", "0", "1.0", "3")
