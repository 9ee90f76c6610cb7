"""Counts of a data set, against sets small enough to count by hand."""

from pathlib import Path

import numpy as np
import pytest

from mernet.model.classes import CLASSES, ClassGroup
from mernet.model.training.data.data_set import DataSet, Part
from mernet.model.training.data.description import describe_data_set, group_of_share


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    """Four images; the second and the fourth have the same content."""
    paths = tuple(tmp_path / f"{place}.jpg" for place in range(4))
    for path, content in zip(paths, ("one", "two", "three", "two"), strict=True):
        path.write_text(content)
    labels = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0]], dtype=bool)
    parts = (Part.TRAIN, Part.TRAIN, Part.TEST, Part.TEST)
    return DataSet(("a", "b", "c"), ("Ay", "Bee", "Cee"), paths, labels, parts)


def test_classes_are_counted_in_all_and_by_part(data: DataSet):
    a, b, c = describe_data_set(data, data.parts).classes
    assert (a.code, a.name, a.count, a.share) == ("a", "Ay", 3, 0.75)
    assert a.by_part == {Part.TRAIN: 2, Part.VALIDATION: 0, Part.TEST: 1}
    assert (b.count, c.count, c.share) == (2, 0, 0)


def test_images_are_counted_by_the_parts_given(data: DataSet):
    found = describe_data_set(data, [Part.VALIDATION, None, None, None])
    assert found.images == 4
    assert found.by_part == {Part.TRAIN: 0, Part.VALIDATION: 1, Part.TEST: 0}


def test_labels_per_image_are_mean_minimum_and_maximum(data: DataSet):
    assert describe_data_set(data, data.parts).labels_per_image == (1.25, 0, 2)


def test_co_occurrence_counts_images_that_show_both(data: DataSet):
    assert describe_data_set(data, data.parts).co_occurrence.tolist() == [
        [3, 2, 0],
        [2, 2, 0],
        [0, 0, 0],
    ]


def test_equal_files_are_counted_and_those_in_two_parts(data: DataSet):
    found = describe_data_set(data, data.parts)
    assert (found.duplicates, found.straddling) == (1, 2)
    assert describe_data_set(data, [Part.TRAIN] * 4).straddling == 0


@pytest.mark.parametrize(
    ("share", "group"),
    [
        (0.1001, ClassGroup.MAJORITY),
        (0.1, ClassGroup.MINORITY),
        (0.05, ClassGroup.MINORITY),
        (0.0499, ClassGroup.EXTREME_MINORITY),
        (0.0, ClassGroup.EXTREME_MINORITY),
    ],
)
def test_groups_follow_the_abstracts_limits(share: float, group: ClassGroup):
    assert group_of_share(share) is group


def test_the_abstracts_rover_deck_is_a_minority_class():
    assert group_of_share(222 / 3004) is CLASSES[0].group
