"""The split: groups stay together, classes keep their shares, files are read as written."""

from pathlib import Path

import numpy as np
import pytest

from mernet.model.errors import DataSetError
from mernet.model.training.data.data_set import DataSet, Part
from mernet.model.training.data.split import (
    SHARES,
    complete_split,
    read_split,
    split,
    split_in_two,
    write_split,
)

# The abstract's Table 1: percent of the images that show each class, in chain order.
PERCENT = (
    *(7.39, 0.45, 0.13, 3.86, 10.4, 1.5, 0.8, 1.3, 40, 35, 45, 6, 4, 20, 15, 5),
    *(75, 1, 12, 30, 35, 3, 60, 12, 0.5),
)
IMAGES = 3000


def realistic(seed: int) -> tuple[np.ndarray, list[str]]:
    """Labels (N, 25) as frequent as the abstract's, alike within groups of 1 to 6 images."""
    random = np.random.default_rng(seed)
    members = np.repeat(np.arange(IMAGES), random.integers(1, 7, IMAGES))[:IMAGES]
    share = np.array(PERCENT) / 100
    of_group = random.random((IMAGES, 25)) < share
    of_image = random.random((IMAGES, 25)) < share
    alike = random.random((IMAGES, 25)) < 0.7
    return np.where(alike, of_group[members], of_image), [f"group {each}" for each in members]


def shares_of(labels: np.ndarray, parts: tuple[Part, ...]) -> np.ndarray:
    """(3, K): of each class's images, the share in each part."""
    inside = np.array([[part is each for part in parts] for each in Part])
    return (inside @ labels.astype(int)) / labels.sum(axis=0)


@pytest.fixture(scope="module", params=range(5))
def case(request) -> tuple[np.ndarray, list[str], tuple[Part, ...]]:
    labels, groups = realistic(request.param)
    return labels, groups, split(labels, groups, seed=request.param)


def test_no_group_is_in_two_parts(case):
    _, groups, parts = case
    part_of_group = dict(zip(groups, parts, strict=True))
    assert [part_of_group[group] for group in groups] == list(parts)


def test_parts_have_their_shares_of_the_images(case):
    _, _, parts = case
    assert [parts.count(part) / IMAGES for part in Part] == pytest.approx(SHARES, abs=0.03)


def test_parts_have_their_shares_of_each_class_that_is_not_rare(case):
    labels, _, parts = case
    common = labels[:, labels.sum(axis=0) >= 60]
    assert common.shape[1] > 15
    expected = np.broadcast_to(np.array(SHARES)[:, None], (3, common.shape[1]))
    assert shares_of(common, parts) == pytest.approx(expected, abs=0.06)


def test_a_class_of_three_groups_or_more_is_in_every_part(case):
    labels, groups, parts = case
    for shown in labels.T:
        its_groups = {group for group, is_shown in zip(groups, shown, strict=True) if is_shown}
        its_parts = {part for part, is_shown in zip(parts, shown, strict=True) if is_shown}
        assert len(its_parts) == 3 or len(its_groups) < 3


def test_a_class_of_three_images_is_in_each_part_once():
    labels = np.zeros((100, 2), dtype=bool)
    labels[:3, 0] = True
    parts = split(labels, [str(place) for place in range(100)])
    assert set(parts[:3]) == set(Part)


def test_images_without_a_label_are_split_too():
    parts = split(np.zeros((100, 2), dtype=bool), [str(place) for place in range(100)])
    assert [parts.count(part) for part in Part] == [60, 15, 25]


def test_the_same_seed_gives_the_same_split_in_any_order_of_images():
    labels, groups = realistic(1)
    order = np.random.default_rng(0).permutation(IMAGES)
    parts = split(labels, groups, seed=3)
    shuffled = split(labels[order], [groups[place] for place in order], seed=3)
    assert shuffled == tuple(parts[place] for place in order)


def test_another_seed_gives_another_split():
    labels, groups = realistic(1)
    assert split(labels, groups, seed=3) != split(labels, groups, seed=4)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.6, 0.2, 0.3), (1, 0, 0), (1.2, -0.1, -0.1)])
def test_shares_that_do_not_give_three_parts_are_refused(shares: tuple[float, ...]):
    labels, groups = realistic(0)
    with pytest.raises(DataSetError, match="shares"):
        split(labels, groups, shares)


def test_fewer_groups_than_parts_are_refused():
    with pytest.raises(DataSetError, match="smaller groups"):
        split(np.ones((9, 1), dtype=bool), ["a"] * 8 + ["b"])


def test_groups_must_be_as_many_as_images():
    with pytest.raises(DataSetError, match="one for each image"):
        split(np.ones((9, 1), dtype=bool), ["a", "b", "c"])


def test_halves_have_half_of_each_common_class():
    labels, groups = realistic(2)
    is_second = split_in_two(labels, groups, seed=1)
    common = labels[:, labels.sum(axis=0) >= 60]
    assert common[is_second].sum(axis=0) / common.sum(axis=0) == pytest.approx(
        np.full(common.shape[1], 0.5), abs=0.06
    )
    first = {group for group, moved in zip(groups, is_second, strict=True) if not moved}
    second = {group for group, moved in zip(groups, is_second, strict=True) if moved}
    assert not first & second


def data_with(parts: list[Part | None]) -> DataSet:
    paths = tuple(Path(f"{place}.jpg") for place in range(len(parts)))
    labels = np.arange(len(parts) * 2).reshape(-1, 2) % 3 == 0
    return DataSet(("a", "b"), ("A", "B"), paths, labels, tuple(parts))


def made(parts: list[Part | None]) -> tuple[Part, ...]:
    return complete_split(data_with(parts), [str(place) for place in range(len(parts))])


def test_a_set_with_all_parts_keeps_them():
    own = [Part.TEST, Part.TRAIN, Part.VALIDATION]
    assert made([*own]) == tuple(own)


@pytest.mark.parametrize("part", [None, Part.TRAIN])
def test_a_set_that_is_not_divided_is_split(part: Part | None):
    parts = made([part] * 40)
    assert [parts.count(each) for each in Part] == [24, 6, 10]


def test_half_of_validation_becomes_the_test_part_if_that_is_missing():
    parts = made([Part.TRAIN] * 30 + [Part.VALIDATION] * 20)
    assert set(parts[:30]) == {Part.TRAIN}
    assert parts[30:].count(Part.VALIDATION) == parts[30:].count(Part.TEST) == 10


def test_validation_is_taken_from_train_if_it_is_missing():
    parts = made([Part.TRAIN] * 50 + [Part.TEST] * 10)
    assert parts[:50].count(Part.VALIDATION) == 10
    assert set(parts[50:]) == {Part.TEST}


@pytest.mark.parametrize("own", [[Part.TRAIN, None], [Part.VALIDATION, Part.TEST]])
def test_incomplete_parts_or_parts_without_train_are_refused(own: list[Part | None]):
    with pytest.raises(DataSetError, match="create a new split"):
        made(own)


def test_a_split_file_is_read_as_written_in_any_order(tmp_path: Path):
    write_split(tmp_path / "split.csv", ["a.jpg", "b,c.jpg"], [Part.TEST, Part.TRAIN])
    assert read_split(tmp_path / "split.csv", ["b,c.jpg", "a.jpg"]) == (Part.TRAIN, Part.TEST)
    assert [file.name for file in tmp_path.iterdir()] == ["split.csv"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,part\na.jpg,train\n", "b.jpg is the first"),
        ("file,part\na.jpg,holdout\n", ":2: "),
        ("file,part\na.jpg,train\na.jpg,test\n", ":3: "),
        ("file,part\na.jpg\n", ":2: "),
        ("a.jpg,train\n", ":1: must be the header"),
    ],
)
def test_a_split_file_that_does_not_fit_is_refused(tmp_path: Path, text: str, message: str):
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(DataSetError, match=message):
        read_split(tmp_path / "split.csv", ["a.jpg", "b.jpg"])
