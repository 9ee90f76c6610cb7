"""Reads a Zooniverse export: which volunteer saw which image and what they chose.

The export is the classifications CSV from the Data Exports tab of a Zooniverse project. It has
a row for each time that a volunteer classified a subject (here an image), with the choices as
JSON in the column `annotations` and the image's uploaded metadata in `subject_data`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mernet.model.errors import DataSetError
from mernet.model.pictures import PICTURE_SUFFIXES
from mernet.model.training.data.class_list import normalise_word
from mernet.model.training.text_files import Problems, read_csv
from mernet.printable import printable, quoted

COLUMNS = (
    *("classification_id", "user_id", "user_ip", "workflow_id", "created_at"),
    *("annotations", "subject_data"),
)
# In the form of `normalise_word`; the first that a subject has names its file.
FILE_KEYS = ("filename", "image", "imagename", "file", "productid")


@dataclass(frozen=True, slots=True)
class VolunteerClassification:
    """A volunteer's choices for an image; `order` sorts the choices of one volunteer by time."""

    image: str
    volunteer: str
    order: tuple[datetime, int]
    choices: frozenset[str]


def read_export(
    path: Path, task: str | None = None, workflow: str | None = None
) -> list[VolunteerClassification]:
    """Read the classifications of an export.

    Args:
        path: The CSV file.
        task: Only answers to this task, if given.
        workflow: Only classifications of the workflow with this number, if given.

    Raises:
        DataSetError: Columns are missing or have unexpected contents, or no classification is left;
            the message names file and line.
    """
    rows = read_csv(path)
    line, header = next(rows)  # read_csv refuses a file without one
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise DataSetError(
            f"{printable(path)}:{line}: lacks {', '.join(missing)}; export the classifications"
        )
    problems = Problems()
    found: list[VolunteerClassification] = []
    for line, cells in rows:
        row = dict(zip(header, cells, strict=False))
        try:
            if len(cells) != len(header):
                raise ValueError(f"{len(cells)} cells, {len(header)} expected as in the header")
            if workflow in (None, row["workflow_id"]):
                found.extend(_parse_row(row, task))
        except (ValueError, OverflowError) as error:
            problems.add(path, line, str(error))
    problems.raise_any()
    if not found:
        raise DataSetError(
            f"{printable(path)}: contains no answer to this task in this workflow; choose others"
        )
    return found


def _parse_row(row: Mapping[str, str], task: str | None) -> Iterator[VolunteerClassification]:
    """Parse a row; yields nothing if the row does not answer the task."""
    answers = [each for each in _parse_annotations(row) if task in (None, each.get("task"))]
    if answers:
        yield VolunteerClassification(
            image=_image_name(row),
            volunteer=_volunteer_name(row),
            order=(_parse_time(row["created_at"]), int(row["classification_id"])),
            choices=frozenset(choice for answer in answers for choice in _iterate_choices(answer)),
        )


def _volunteer_name(row: Mapping[str, str]) -> str:
    if row["user_id"]:
        return f"user {row['user_id']}"
    if row["user_ip"]:
        return f"address {row['user_ip']}"
    raise ValueError("user_id and user_ip are both empty; one must identify the volunteer")


def _parse_time(text: str) -> datetime:
    """Parse the time of a row, such as 2018-03-01 12:00:00 UTC."""
    time = datetime.fromisoformat(text.removesuffix("UTC").strip())
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _parse_annotations(row: Mapping[str, str]) -> list[dict[str, Any]]:
    annotations = _parse_json(row, "annotations")
    if isinstance(annotations, list) and all(isinstance(each, dict) for each in annotations):
        return annotations
    raise ValueError("annotations must be a list of objects with task and value")


def _iterate_choices(answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield the choices of an answer: a text, a list of texts, or of objects with a `choice`."""
    value = answer.get("value")
    for item in value if isinstance(value, list) else [value]:
        choice = item.get("choice") if isinstance(item, dict) else item
        if isinstance(choice, str):
            yield choice
        elif item is not None:
            raise ValueError(
                f"task '{printable(answer.get('task'), 60)}' has no choices; name a task that has"
            )


def _image_name(row: Mapping[str, str]) -> str:
    """Return a subject's file name: under a usual key, else the first that looks like a picture."""
    subjects = _parse_json(row, "subject_data")
    if not isinstance(subjects, dict) or not all(isinstance(s, dict) for s in subjects.values()):
        raise ValueError("subject_data must be an object that contains an object for the subject")
    facts = {
        normalise_word(name): str(value)
        for each in subjects.values()
        for name, value in each.items()
    }
    named = [facts[name] for name in FILE_KEYS if facts.get(name)]
    pictures = [value for value in facts.values() if value.lower().endswith(PICTURE_SUFFIXES)]
    if not named and not pictures:
        raise ValueError("subject_data names no file, under Filename or otherwise")
    name = (named or pictures)[0]
    if not name.isprintable():
        raise ValueError(f"subject_data names the file {quoted(name)}; no file is called that")
    return name


def _parse_json(row: Mapping[str, str], column: str) -> Any:
    try:
        return json.loads(row[column])
    except (ValueError, RecursionError) as error:
        problem = getattr(error, "msg", None) or "it is nested too deeply, or has too long a number"
        raise ValueError(f"{column} is not JSON ({problem})") from error
