"""`mernet discover` on a folder in which one picture is unlike all others."""

import csv
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from torch import nn
from typer.testing import CliRunner, Result

from mernet.cli.learning.discover import discover
from mernet.demo import pds3_volume
from mernet.demo.archive import take_pixels
from mernet.demo.plan import plan_archive
from mernet.demo.scenes import draw
from mernet.model import backbone
from mernet.model.errors import DataSetError

app = typer.Typer()
app.command()(discover)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Slopes of grey under some noise, in two subfolders, and one chequered picture."""
    random = np.random.default_rng(0)
    slope = np.linspace(60, 120, 48)[:, None]
    for number in range(20):
        place = tmp_path / "images" / ("even", "odd")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        pixels = slope + random.normal(0, 4, (48, 64))
        Image.fromarray(pixels.astype(np.uint8)).save(place / f"slope{number:02d}.png")
    squares = np.kron(np.indices((6, 8)).sum(axis=0) % 2, np.ones((8, 8)))
    Image.fromarray((squares * 255).astype(np.uint8)).save(
        tmp_path / "images" / "odd" / "chess.png"
    )
    return tmp_path / "images"


def run(folder: Path, *words: str | Path) -> Result:
    page = ("--out", folder.parent / "page.html")
    return CliRunner().invoke(app, [str(word) for word in (folder, *page, *words)])


def names_in(table: Path) -> list[str]:
    with table.open(newline="") as file:
        return [Path(row["file"]).name for row in csv.DictReader(file)]


def test_by_pixels_the_odd_one_out_comes_first_on_page_and_table(folder: Path, tmp_path: Path):
    ran = run(folder, "--by", "pixels", "--count", "3", "--csv", tmp_path / "ranks.csv")
    assert ran.exit_code == 0, ran.output
    names = names_in(tmp_path / "ranks.csv")
    assert names[0] == "chess.png"
    assert len(names) == 3
    page = (tmp_path / "page.html").read_text()
    assert [page.index(f">{name}<") for name in names] == sorted(
        page.index(f">{name}<") for name in names
    )
    assert "The 3 most novel of 21 images" in page


def test_known_images_are_not_novel(folder: Path, tmp_path: Path):
    table = tmp_path / "ranks.csv"
    ran = run(folder, "--by", "pixels", "--seen", folder / "odd", "--csv", table)
    assert ran.exit_code == 0, ran.output
    names = names_in(table)
    assert len(names) == 21
    assert all(name.endswith(("0.png", "2.png", "4.png", "6.png", "8.png")) for name in names[:10])


def test_by_features_of_a_network(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    layers = (nn.Conv2d(3, 16, 7, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    tiny = backbone.Architecture(lambda: nn.Sequential(*layers), feature_count=64)
    monkeypatch.setitem(backbone.ARCHITECTURES, "vgg16", tiny)
    table = tmp_path / "ranks.csv"
    ran = run(folder, "--weights", "random", "--input-size", "64", "--csv", table)
    assert ran.exit_code == 0, ran.output
    assert names_in(table)[0] == "chess.png"
    assert "features of vgg16, random weights, 64x64" in (tmp_path / "page.html").read_text()


def test_a_file_that_cannot_be_read_is_reported_and_left_out(folder: Path, tmp_path: Path):
    (folder / "broken.jpg").write_text("no picture")
    (folder / "notes.txt").write_text("not asked for")
    ran = run(folder, "--by", "pixels")
    assert ran.exit_code == 0, ran.output
    assert "broken.jpg: is not a JPEG, PNG or TIFF picture" in ran.stderr
    assert "1 of 22 files" in ran.stderr
    assert "notes.txt" not in ran.output


def test_products_of_the_archive_are_pictures_too(folder: Path, tmp_path: Path):
    shot = plan_archive(seed=1, products=4)[0]
    data = pds3_volume.product_bytes(
        shot.takes[0].edr, take_pixels(draw(shot.scene), shot.takes[0])
    )
    (folder / "product.IMG").write_bytes(data)
    ran = run(folder, "--by", "pixels", "--csv", tmp_path / "ranks.csv")
    assert ran.exit_code == 0, ran.output
    assert "product.IMG" in names_in(tmp_path / "ranks.csv")[:2]


def test_known_classes_are_shown_below_their_pictures(folder: Path, tmp_path: Path):
    (tmp_path / "images" / "labels.csv").write_text("file,sky,soi\nodd/chess.png,1,1\n")
    ran = run(folder, "--by", "pixels", "--count", "1", "--labels", folder / "labels.csv")
    assert ran.exit_code == 0, ran.output
    assert "Soil, Sky" in (tmp_path / "page.html").read_text()


def test_a_folder_without_pictures_is_refused_with_one_sentence(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    ran = run(tmp_path / "empty", "--by", "pixels")
    assert isinstance(ran.exception, DataSetError)
    assert "contains no readable picture" in str(ran.exception)
    assert not (tmp_path / "page.html").exists()
