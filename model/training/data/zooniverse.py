"""Reads a Zooniverse export: who saw which image, and what they chose.

It is the CSV of classifications that the Data Exports tab of a Zooniverse project gives: a row for
each time that a volunteer looked at a subject (here an image), with the choices as JSON in its
column `annotations` and what was uploaded with the image in `subject_data`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mernet.model.errors import DataSetError
from mernet.model.training.data.class_list import normalise_word
from mernet.model.training.data.picture_files import SUFFIXES
from mernet.model.training.text_files import Problems, read_csv

COLUMNS = (
    *("classification_id", "user_id", "user_ip", "workflow_id", "created_at"),
    *("annotations", "subject_data"),
)
# As `normalise_word` writes them; the first that a subject has names its file.
FILE_KEYS = ("filename", "image", "imagename", "file", "productid")


@dataclass(frozen=True, slots=True)
class VolunteerClassification:
    """One look of a volunteer at an image; `order` says which of two came later."""

    image: str
    volunteer: str
    order: tuple[datetime, int]
    choices: frozenset[str]


def read_export(
    path: Path, task: str | None = None, workflow: str | None = None
) -> list[VolunteerClassification]:
    """The classifications of an export, of one task and one workflow where these are given.

    Raises DataSetError, with file and line, where columns are missing or hold something else than
    they should, and where nothing is left.
    """
    rows = read_csv(path)
    line, header = next(rows)
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise DataSetError(f"{path}:{line}: lacks {', '.join(missing)}; export classifications")
    problems = Problems()
    found: list[VolunteerClassification] = []
    for line, cells in rows:
        row = dict(zip(header, cells, strict=False))
        try:
            if len(cells) != len(header):
                raise ValueError(f"{len(cells)} cells, {len(header)} expected as in the header")
            if workflow in (None, row["workflow_id"]):
                found.extend(_classification(row, task))
        except ValueError as error:
            problems.add(path, line, str(error))
    problems.raise_any()
    if not found:
        raise DataSetError(f"{path}: nobody classified in this task and workflow; name others")
    return found


def _classification(row: Mapping[str, str], task: str | None) -> Iterator[VolunteerClassification]:
    """What a row says; nothing where it does not answer the task."""
    answers = [each for each in _annotations(row) if task in (None, each.get("task"))]
    if answers:
        yield VolunteerClassification(
            image=_image(row),
            volunteer=_volunteer(row),
            order=(_time(row["created_at"]), int(row["classification_id"])),
            choices=frozenset(choice for answer in answers for choice in _choices(answer)),
        )


def _volunteer(row: Mapping[str, str]) -> str:
    if row["user_id"]:
        return f"user {row['user_id']}"
    if row["user_ip"]:
        return f"address {row['user_ip']}"
    raise ValueError("neither user_id nor user_ip tells who the volunteer is")


def _time(text: str) -> datetime:
    """The time of a row, as in 2018-03-01 12:00:00 UTC."""
    time = datetime.fromisoformat(text.removesuffix("UTC").strip())
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _annotations(row: Mapping[str, str]) -> list[dict[str, Any]]:
    annotations = _json(row, "annotations")
    if isinstance(annotations, list) and all(isinstance(each, dict) for each in annotations):
        return annotations
    raise ValueError("annotations must be a list of objects with task and value")


def _choices(answer: Mapping[str, Any]) -> Iterator[str]:
    """The choices in an answer: a text, a list of texts, or of objects with a `choice`."""
    value = answer.get("value")
    for item in value if isinstance(value, list) else [value]:
        choice = item.get("choice") if isinstance(item, dict) else item
        if isinstance(choice, str):
            yield choice
        elif item is not None:
            raise ValueError(f"task {answer.get('task')!r} holds no choices; name one that does")


def _image(row: Mapping[str, str]) -> str:
    """The name of a subject's file: under a usual key, else the first that looks like a picture."""
    subjects = _json(row, "subject_data")
    if not isinstance(subjects, dict) or not all(isinstance(s, dict) for s in subjects.values()):
        raise ValueError("subject_data must be an object with one for the subject in it")
    facts = {
        normalise_word(name): str(value)
        for each in subjects.values()
        for name, value in each.items()
    }
    named = [facts[name] for name in FILE_KEYS if facts.get(name)]
    pictures = [value for value in facts.values() if value.lower().endswith(SUFFIXES)]
    if not named and not pictures:
        raise ValueError("subject_data names no file, under Filename or otherwise")
    return (named or pictures)[0]


def _json(row: Mapping[str, str], column: str) -> Any:
    try:
        return json.loads(row[column])
    except json.JSONDecodeError as error:
        raise ValueError(f"{column} is no JSON ({error.msg})") from error
