"""Reading picture files: grey levels, and files that cannot be read."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mernet.model.errors import PictureError
from mernet.model.pictures import read_picture


@pytest.mark.parametrize("name", ["grey.png", "grey.tif"])
def test_a_grey_picture_is_read_as_it_is(tmp_path: Path, name: str):
    levels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(levels).save(tmp_path / name)
    read = read_picture(tmp_path / name)
    assert read.dtype == np.uint8
    assert read.tolist() == levels.tolist()


def test_colours_become_grey(tmp_path: Path):
    Image.new("RGB", (2, 2), (255, 255, 255)).save(tmp_path / "white.jpg")
    assert read_picture(tmp_path / "white.jpg").tolist() == [[255, 255], [255, 255]]


def test_pixels_of_more_than_8_bits_are_refused(tmp_path: Path):
    Image.fromarray(np.full((2, 2), 4095, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(PictureError, match=r"deep\.png: has more than 8 bits per pixel"):
        read_picture(tmp_path / "deep.png")


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_a_file_that_is_not_a_picture_is_named(tmp_path: Path, content: bytes | None):
    if content is not None:
        (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(PictureError, match=r"a\.jpg"):
        read_picture(tmp_path / "a.jpg")


def test_a_picture_that_ends_too_early_is_named(tmp_path: Path):
    Image.effect_noise((64, 64), 50).save(tmp_path / "whole.jpg")
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(PictureError, match=r"cut\.jpg"):
        read_picture(tmp_path / "cut.jpg")
