"""Zooniverse exports: reading them, and the labels that follow from their votes."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from mernet.model.classes import CODES
from mernet.model.errors import DataSetError
from mernet.model.training.data.consensus import Consensus, compute_consensus
from mernet.model.training.data.zooniverse import COLUMNS, read_export

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


def test_anonymous_volunteers_are_distinguished_by_address(tmp_path: Path):
    rows = [row(user_id="", user_ip=address) for address in ("x", "y", "x")]
    assert agreed(tmp_path, *rows).volunteers.tolist() == [2]


def test_a_class_is_a_label_if_enough_volunteers_chose_it(tmp_path: Path):
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


def test_choices_that_are_not_classes_are_counted_and_their_volunteers_too(tmp_path: Path):
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
    "metadata",
    [
        {"Filename": "a.jpg"},
        {"#filename": "a.jpg", "origin": "b.jpg"},
        {"image_name": "a.jpg"},
        {"product_id": "a.jpg"},
        {"retired": None, "picture 1": "a.jpg"},
    ],
)
def test_the_file_of_a_subject_is_found_in_its_metadata(tmp_path: Path, metadata: dict[str, Any]):
    result = agreed(tmp_path, row(subject_data=json.dumps({"99": metadata})))
    assert result.images == ("a.jpg",)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"annotations": "{"}, "annotations is not JSON"),
        ({"annotations": "3"}, "annotations must be a list"),
        ({"annotations": '[{"task": "T3", "value": [{"x": 1}]}]'}, "'T3' has no choices"),
        ({"annotations": '[{"task": "T3", "value": 4}]'}, "'T3' has no choices"),
        ({"subject_data": "[]"}, "subject_data must be"),
        ({"subject_data": '{"1": {"sol": 4}}'}, "subject_data names no file"),
        ({"subject_data": r'{"1": {"Filename": "a\ud800.jpg"}}'}, r"names the file 'a\\ud800.jpg'"),
        ({"subject_data": r'{"1": {"Filename": "a\u0000.jpg"}}'}, r"names the file 'a\\x00.jpg'"),
        ({"created_at": "yesterday"}, "yesterday"),
        ({"classification_id": "x"}, "'x'"),
        ({"user_id": "", "user_ip": ""}, "user_id and user_ip are both empty"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_by_its_line(tmp_path: Path, changed, message):
    with pytest.raises(DataSetError, match=rf"export\.csv:3: .*{message}"):
        read_export(export(tmp_path, row(), row(**changed)))


def test_a_file_that_is_not_an_export_is_refused(tmp_path: Path):
    (tmp_path / "labels.csv").write_text("file,label\na.jpg,sky\n")
    with pytest.raises(DataSetError, match="lacks classification_id"):
        read_export(tmp_path / "labels.csv")
