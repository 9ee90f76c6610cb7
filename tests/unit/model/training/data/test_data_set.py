"""A loaded data set: its digest and its subsets."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mernet.model.training.data.data_set import DataSet, Part


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


def test_a_set_is_single_label_if_each_image_shows_exactly_one_class(data: DataSet):
    assert not data.is_single_label
    assert data.subset([0]).is_single_label
    assert not data.subset([0, 2]).is_single_label


def test_the_digest_does_not_depend_on_order_or_folder(data: DataSet, tmp_path: Path):
    elsewhere = data_in(tmp_path / "elsewhere", contents=(10, 20, 30))
    assert elsewhere.digest() == data.digest()
    assert data.subset([2, 0, 1]).digest() == data.digest()


def test_the_digest_depends_on_labels_contents_names_and_classes(data: DataSet, tmp_path: Path):
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
