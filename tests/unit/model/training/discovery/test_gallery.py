"""The gallery shows pictures in their order, is self-contained, and links to their files."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mernet.model.training.discovery.gallery import THUMBNAIL, RankedPicture, write_gallery


class Page(HTMLParser):
    """The links, images and text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.images: list[Image.Image] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "a" and values.get("class") == "pictures":
            self.links.append(str(values["href"]))
        if tag == "img":
            kind, data = str(values["src"]).split(",", 1)
            assert kind == "data:image/jpeg;base64"
            self.images.append(Image.open(io.BytesIO(base64.b64decode(data))))

    def handle_data(self, data: str) -> None:
        self.text += data


def ranked(name: str, score: float, grey: int = 100, **more: object) -> RankedPicture:
    return RankedPicture(Path(name), score, np.full((600, 300), grey, np.uint8), **more)


def shown(tmp_path: Path, *pictures: RankedPicture) -> Page:
    page = tmp_path / "page.html"
    write_gallery(page, pictures, "Novel", {"Images": "3 in a folder"})
    return Page(page)


def test_pictures_come_in_the_order_given_with_rank_name_score_and_labels(tmp_path: Path):
    page = shown(tmp_path, ranked("b.jpg", 12.5, labels=("Sky", "Soil")), ranked("a.jpg", 7))
    words = re.sub(r"\s+", " ", page.text.split("3 in a folder")[1]).strip()
    assert words == "1b.jpg 12.5 Sky, Soil 2a.jpg 7"


def test_pictures_are_in_the_page_itself_and_small(tmp_path: Path):
    (image,) = shown(tmp_path, ranked("a.jpg", 1, grey=200)).images
    assert max(image.size) == THUMBNAIL
    assert image.size == (THUMBNAIL // 2, THUMBNAIL)
    assert np.asarray(image).mean() == pytest.approx(200, abs=2)


def test_the_page_loads_nothing(tmp_path: Path):
    shown(tmp_path, ranked("a.jpg", 1))
    text = (tmp_path / "page.html").read_text()
    assert "http" not in text
    assert "<script" not in text


def test_what_is_novel_is_beside_its_picture_in_the_same_shape(tmp_path: Path):
    residual = np.full((32, 32), 30, np.uint8)
    page = shown(tmp_path, ranked("a.jpg", 1, residual=residual))
    picture, novelty = page.images
    assert novelty.size == picture.size
    assert np.asarray(novelty).mean() == pytest.approx(30, abs=2)
    assert "mid-grey is as expected" in page.text


def test_a_link_leads_from_the_page_to_the_file_whatever_its_name(tmp_path: Path):
    file = tmp_path / "pictures" / 'odd #1 "<b>.jpg'
    page = shown(tmp_path, ranked(str(file), 1))
    assert page.links == ["pictures/odd%20%231%20%22%3Cb%3E.jpg"]
    assert file.name in page.text


def test_scores_of_zero_have_no_bars(tmp_path: Path):
    shown(tmp_path, ranked("a.jpg", 0))
    assert "width: 0.0%" in (tmp_path / "page.html").read_text()


def test_an_older_page_is_replaced(tmp_path: Path):
    (tmp_path / "page.html").write_text("last week's")
    page = shown(tmp_path, ranked("a.jpg", 1))
    assert "last week's" not in page.text
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
