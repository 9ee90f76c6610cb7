"""A data set in hand: its digest, its subsets, its pictures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mernet.model.errors import DataSetError
from mernet.model.training.data.data_set import DataSet, Part
from mernet.model.training.data.picture_files import read_picture


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    return data_in(tmp_path / "here", contents=(10, 20, 30))


def data_in(folder: Path, contents: tuple[int, ...]) -> DataSet:
    folder.mkdir()
    paths = tuple(folder / f"{place}.png" for place in range(len(contents)))
    for path, grey in zip(paths, contents, strict=True):
        Image.new("L", (3, 2), grey).save(path)
    labels = np.array([[True, False], [True, True], [False, False]])
    return DataSet(("a", "b"), ("A", "B"), paths, labels, (Part.TRAIN, None, Part.TEST))


def test_a_subset_keeps_what_belongs_to_its_images(data: DataSet):
    chosen = data.subset([2, 0])
    assert chosen.names == ("2.png", "0.png")
    assert chosen.labels.tolist() == [[False, False], [True, False]]
    assert chosen.parts == (Part.TEST, Part.TRAIN)
    assert chosen.classes == data.classes


def test_a_set_is_single_label_where_each_image_shows_exactly_one_class(data: DataSet):
    assert not data.is_single_label
    assert data.subset([0]).is_single_label
    assert not data.subset([0, 2]).is_single_label


def test_the_digest_does_not_depend_on_order_or_place(data: DataSet, tmp_path: Path):
    elsewhere = data_in(tmp_path / "elsewhere", contents=(10, 20, 30))
    assert elsewhere.digest() == data.digest()
    assert data.subset([2, 0, 1]).digest() == data.digest()


def test_the_digest_tells_labels_contents_names_and_classes_apart(data: DataSet, tmp_path: Path):
    others = [
        replace(data, labels=~data.labels),
        data_in(tmp_path / "elsewhere", contents=(10, 20, 31)),
        replace(data, classes=("a", "c")),
        data.subset([0, 1]),
    ]
    renamed = tmp_path / "renamed.png"
    renamed.write_bytes(data.paths[0].read_bytes())
    others.append(replace(data, paths=(renamed, *data.paths[1:])))
    assert len({each.digest() for each in (data, *others)}) == 6


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
    with pytest.raises(DataSetError, match=r"deep\.png: has more than 8 bits per pixel"):
        read_picture(tmp_path / "deep.png")


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_a_file_that_is_no_picture_is_named(tmp_path: Path, content: bytes | None):
    if content is not None:
        (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataSetError, match=r"a\.jpg"):
        read_picture(tmp_path / "a.jpg")


def test_a_picture_that_ends_too_early_is_named(tmp_path: Path):
    Image.effect_noise((64, 64), 50).save(tmp_path / "whole.jpg")
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataSetError, match=r"cut\.jpg"):
        read_picture(tmp_path / "cut.jpg")
