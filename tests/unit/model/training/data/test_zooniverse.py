"""Zooniverse exports and the labels that volunteers agree on."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mernet.model.classes import CODES
from mernet.model.errors import DataSetError
from mernet.model.training.data.consensus import Consensus, compute_consensus, write_label_file
from mernet.model.training.data.loading import load_data_set
from mernet.model.training.data.zooniverse import COLUMNS, VolunteerClassification, read_export

FIRST = "2018-03-01 12:00:00 UTC"
LATER = "2018-03-02 08:00:00 UTC"


def row(value: Any = "Sky", **changed: Any) -> dict[str, Any]:
    """A row of an export, in which a volunteer chose `value`."""
    return {
        "classification_id": 1,
        "user_id": 7,
        "user_ip": "abc",
        "workflow_id": 11,
        "created_at": FIRST,
        "annotations": json.dumps([{"task": "T0", "task_label": "What?", "value": value}]),
        "subject_data": json.dumps({"99": {"retired": None, "Filename": "a.jpg"}}),
        **changed,
    }


def export(tmp_path: Path, *rows: dict[str, Any]) -> Path:
    path = tmp_path / "export.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["user_name", *COLUMNS])
        writer.writeheader()
        writer.writerows({"user_name": "somebody", **each} for each in rows)
    return path


def vote(image: str, volunteer: int, *choices: str) -> dict[str, Any]:
    subject = json.dumps({"1": {"filename": image}})
    return row([*choices], user_id=volunteer, subject_data=subject)


def agreed(tmp_path: Path, *rows: dict[str, Any], **options: Any) -> Consensus:
    return compute_consensus(read_export(export(tmp_path, *rows)), **{"retirement": 1, **options})


def labels_of(result: Consensus) -> dict[str, set[str]]:
    return {
        image: {code for code, is_label in zip(result.classes, labels, strict=True) if is_label}
        for image, labels in zip(result.images, result.labels, strict=True)
    }


@pytest.mark.parametrize(
    "value",
    [
        ["sky", "rod"],
        ["Sky", "Rover deck"],
        [{"choice": "SKY", "answers": {}}, {"choice": "ROVERDECK", "answers": {"HOWMANY": "1"}}],
        ["Nothing I know", "sky ", "rover-deck"],
    ],
)
def test_choices_are_classes_by_code_or_name(tmp_path: Path, value: Any):
    assert labels_of(agreed(tmp_path, row(value))) == {"a.jpg": {"rod", "sky"}}


def test_a_text_is_one_choice_and_nothing_chosen_is_none(tmp_path: Path):
    assert labels_of(agreed(tmp_path, row("Misc. rocks"))) == {"a.jpg": {"rmi"}}
    assert labels_of(agreed(tmp_path, row(None))) == {"a.jpg": set()}
    assert labels_of(agreed(tmp_path, row([]))) == {"a.jpg": set()}


def test_a_volunteers_last_classification_is_their_only_vote(tmp_path: Path):
    rows = [
        row("Soil", classification_id=2, created_at=LATER),
        row("Sky", classification_id=1),
        row("Sky", classification_id=3),
    ]
    result = agreed(tmp_path, *rows)
    assert labels_of(result) == {"a.jpg": {"soi"}}
    assert result.volunteers.tolist() == [1]


def test_anonymous_volunteers_are_told_apart_by_address(tmp_path: Path):
    rows = [row(user_id="", user_ip=address) for address in ("x", "y", "x")]
    assert agreed(tmp_path, *rows).volunteers.tolist() == [2]


def test_a_class_is_a_label_where_enough_volunteers_chose_it(tmp_path: Path):
    rows = [vote("a.jpg", 1, "sky", "soi"), vote("a.jpg", 2, "sky"), vote("a.jpg", 3, "sky", "rod")]
    assert labels_of(agreed(tmp_path, *rows)) == {"a.jpg": {"sky"}}
    assert labels_of(agreed(tmp_path, *rows, threshold=1 / 3)) == {"a.jpg": {"sky", "soi", "rod"}}
    sky = CODES.index("sky")
    assert agreed(tmp_path, *rows).shares[0, [sky, sky - 4]].tolist() == [1, 1 / 3]


def test_an_image_with_too_few_volunteers_waits(tmp_path: Path):
    rows = [vote("a.jpg", n, "sky") for n in range(3)] + [vote("b.jpg", 1, "sky")]
    result = agreed(tmp_path, *rows, retirement=3)
    assert result.images == ("a.jpg",)
    assert result.waiting == {"b.jpg": 1}
    with pytest.raises(DataSetError, match="the most is 3"):
        agreed(tmp_path, *rows, retirement=4)


def test_choices_that_are_no_class_are_counted_and_their_volunteers_too(tmp_path: Path):
    rows = [vote("a.jpg", 1, "Nothing here"), vote("a.jpg", 2, "sky")]
    result = agreed(tmp_path, *rows, threshold=0.6)
    assert result.unknown == {"Nothing here": 1}
    assert labels_of(result) == {"a.jpg": set()}


def test_a_code_and_the_name_of_the_same_class_are_one_vote(tmp_path: Path):
    assert agreed(tmp_path, vote("a.jpg", 1, "sky", "Sky")).shares.max() == 1


def test_one_task_and_one_workflow_can_be_chosen(tmp_path: Path):
    two_tasks = json.dumps([{"task": "T0", "value": "Sky"}, {"task": "T1", "value": "Soil"}])
    rows = [row(annotations=two_tasks), row("Clasts", workflow_id=12)]
    path = export(tmp_path, *rows)
    assert [each.choices for each in read_export(path, "T1", "11")] == [{"Soil"}]
    assert [each.choices for each in read_export(path, workflow="12")] == [{"Clasts"}]
    with pytest.raises(DataSetError, match="choose others"):
        read_export(path, task="T9")


@pytest.mark.parametrize(
    "facts",
    [
        {"Filename": "a.jpg"},
        {"#filename": "a.jpg", "origin": "b.jpg"},
        {"image_name": "a.jpg"},
        {"product_id": "a.jpg"},
        {"retired": None, "picture 1": "a.jpg"},
    ],
)
def test_the_file_of_a_subject_is_found_among_its_facts(tmp_path: Path, facts: dict[str, Any]):
    result = agreed(tmp_path, row(subject_data=json.dumps({"99": facts})))
    assert result.images == ("a.jpg",)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"annotations": "{"}, "annotations is not JSON"),
        ({"annotations": "3"}, "annotations must be a list"),
        ({"annotations": '[{"task": "T3", "value": [{"x": 1}]}]'}, "'T3' has no choices"),
        ({"annotations": '[{"task": "T3", "value": 4}]'}, "'T3' has no choices"),
        ({"subject_data": "[]"}, "subject_data must be"),
        ({"subject_data": '{"1": {"sol": 4}}'}, "subject_data names no file"),
        ({"created_at": "yesterday"}, "yesterday"),
        ({"classification_id": "x"}, "'x'"),
        ({"user_id": "", "user_ip": ""}, "user_id and user_ip are both empty"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_by_its_line(tmp_path: Path, changed, said):
    with pytest.raises(DataSetError, match=rf"export\.csv:3: .*{said}"):
        read_export(export(tmp_path, row(), row(**changed)))


def test_another_file_than_an_export_is_refused(tmp_path: Path):
    (tmp_path / "labels.csv").write_text("file,label\na.jpg,sky\n")
    with pytest.raises(DataSetError, match="lacks classification_id"):
        read_export(tmp_path / "labels.csv")


def votes_for_sky(*chosen_of_seen: tuple[int, int]) -> list[VolunteerClassification]:
    """Classifications of images of which some volunteers, of all that saw them, chose sky."""
    return [
        VolunteerClassification(
            image=f"{place}.jpg",
            volunteer=str(volunteer),
            order=(datetime(2018, 3, 1, tzinfo=UTC), volunteer),
            choices=frozenset({"sky"} if volunteer < chosen else ()),
        )
        for place, (chosen, seen) in enumerate(chosen_of_seen)
        for volunteer in range(seen)
    ]


def kappa_of_sky(*chosen_of_seen: tuple[int, int]) -> float:
    result = compute_consensus(votes_for_sky(*chosen_of_seen), retirement=1)
    return float(result.kappa()[CODES.index("sky")])


def test_kappa_is_one_where_all_agree_and_nothing_where_there_is_no_choice():
    assert kappa_of_sky((5, 5), (0, 5)) == pytest.approx(1)
    assert np.isnan(kappa_of_sky((0, 5), (0, 5)))
    assert np.isnan(kappa_of_sky((1, 1), (0, 1)))


def test_kappa_is_that_of_fleiss_formula():
    # Agreement of the images 1, 1/3, 1/3, chosen by 5 of 9: (5/9 - 41/81) / (1 - 41/81).
    assert kappa_of_sky((3, 3), (1, 3), (1, 3)) == pytest.approx(0.1)
    # Agreement 1, 1/3, 1, chosen by 4 of 9: (7/9 - 41/81) / (1 - 41/81).
    assert kappa_of_sky((3, 3), (1, 3), (0, 3)) == pytest.approx(0.55)


def test_kappa_is_near_nought_where_volunteers_guess():
    guesses = np.random.default_rng(0).binomial(10, 0.4, size=400)
    assert kappa_of_sky(*((int(chosen), 10) for chosen in guesses)) == pytest.approx(0, abs=0.02)


def test_the_image_with_most_votes_in_the_minority_is_most_disputed():
    result = compute_consensus(votes_for_sky((5, 5), (2, 5), (1, 5)), retirement=1)
    assert result.disputed() == [
        ("1.jpg", pytest.approx(0.4)),
        ("2.jpg", pytest.approx(0.2)),
        ("0.jpg", 0),
    ]


@pytest.mark.parametrize("options", [{"retirement": 0}, {"threshold": 0}, {"threshold": 1.1}])
def test_options_out_of_range_are_refused(options: dict[str, Any]):
    with pytest.raises(DataSetError, match="at least 1"):
        compute_consensus(votes_for_sky((1, 1)), **options)


def test_the_label_file_of_a_consensus_is_loaded_as_a_data_set(tmp_path: Path):
    rows = [vote("a.jpg", n, "sky", "rod") for n in range(2)] + [vote("b.jpg", n) for n in range(2)]
    result = agreed(tmp_path, *rows, retirement=2)
    folder = tmp_path / "labelled"
    write_label_file(folder / "labels.csv", result)
    for name in result.images:
        Image.new("L", (2, 2)).save(folder / name)
    data = load_data_set(folder)
    assert data.classes == CODES
    assert data.names == result.images
    assert data.labels.tolist() == result.labels.tolist()
