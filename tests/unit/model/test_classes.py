"""The class list: consistent, and equal to the published table."""

import csv
from pathlib import Path

import pytest

from mernet.model.classes import CLASSES, CODES, ClassGroup


def test_there_are_25_classes_with_distinct_three_letter_codes_and_names():
    assert len(set(CODES)) == 25
    assert {len(code) for code in CODES} == {3}
    assert len({image_class.name for image_class in CLASSES}) == 25


def test_positions_count_from_one_in_chain_order():
    assert [image_class.position for image_class in CLASSES] == list(range(1, 26))
    assert (CODES[0], CODES[16], CODES[24]) == ("rod", "soi", "art")


def test_every_group_has_classes():
    assert {image_class.group for image_class in CLASSES} == set(ClassGroup)


@pytest.mark.real
def test_the_classes_are_those_of_the_published_table(real_files: Path):
    with (real_files.parent / "facts" / "mernet_table1.csv").open(newline="") as file:
        rows = [
            (int(row["chain_position"]), row["code"], row["name"], row["group"])
            for row in csv.DictReader(file)
        ]
    assert rows == [(c.position, c.code, c.name, c.group) for c in CLASSES]
