"""Loads a labelled data set from a folder or a label file, in any of the known layouts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mernet.model.errors import DataSetError
from mernet.model.training.data.class_list import (
    CLASS_TABLE,
    ClassList,
    class_list_for,
    normalise_word,
    read_class_list,
)
from mernet.model.training.data.data_set import DataSet, Part
from mernet.model.training.data.label_files import (
    LabelFile,
    LabelRow,
    part_from_file_name,
    read_label_file,
)
from mernet.model.training.data.picture_files import PictureFinder
from mernet.model.training.text_files import Problems

ENDINGS = (".csv", ".tsv", ".txt")
USUAL_NAMES = ("annotation", "annotations", "labels")


@dataclass(frozen=True, slots=True)
class _Image:
    """A picture file, the places (from 0) of the classes it shows, its part, and who says so."""

    path: Path
    shown: frozenset[int]
    part: Part | None
    source: str


def load_data_set(path: Path) -> DataSet:
    """The labelled images that a folder or a label file holds.

    A folder is searched for, in this order: files called after the parts (train.txt, val.txt,
    test.txt; also .csv, .tsv), annotation.csv as Mars-Bench has it, labels.csv, or its only .csv,
    .tsv or .txt. `label_files` tells what may stand in them, `picture_files` where the pictures may
    lie. Numbers of classes mean what mapping.json or classes.tsv beside the label file says.
    Without one, they are the set's own where each image has exactly one number, else 0 to 24 are
    MERNet's chain order. A class of MERNet's that the files never speak of is shown by no image.

    Raises DataSetError, naming the first problems by file and line: a picture that is missing or
    labelled twice in different ways, an unknown class, a wrong number of columns.
    """
    if not path.exists():
        raise DataSetError(f"{path} does not exist; give the folder of a data set or a label file")
    folder = path if path.is_dir() else path.parent
    listed = read_class_list(folder)
    problems = Problems()
    tables = [
        read_label_file(file, listed or ClassList.mernet(), problems) for file in _label_files(path)
    ]
    problems.raise_any()
    classes = listed or _classes_of(tables)
    images = _images(tables, classes, PictureFinder(folder), problems)
    problems.raise_any()
    if not images:
        raise DataSetError(f"{tables[0].path}: names no image; give another label file")
    return _data_set(images, classes)


def _label_files(path: Path) -> list[Path]:
    """The label files of a data set: one, or one for each part."""
    if path.is_file():
        return [path]
    files = [
        file
        for file in sorted(path.iterdir())
        if file.suffix.lower() in ENDINGS and file.is_file() and file.name != CLASS_TABLE
    ]
    of_parts = [file for file in files if part_from_file_name(file)]
    usual = [file for name in USUAL_NAMES for file in files if file.stem.lower() == name]
    if of_parts or usual or len(files) == 1:
        return of_parts or usual[:1] or files
    raise DataSetError(
        f"{path} holds {len(files) or 'no'} {', '.join(ENDINGS)} files that may be of labels; "
        "give the label file itself, or call it labels.csv"
    )


def _classes_of(tables: Sequence[LabelFile]) -> ClassList:
    """The classes that label files without a list of classes speak of."""
    columns = [column for table in tables for column in table.columns]
    if columns:
        mernet = ClassList.mernet()
        if any(mernet.place(column) is not None for column in columns):
            return mernet
        return class_list_for(dict(enumerate((name,) for name in dict.fromkeys(columns))))
    words = [tuple(map(normalise_word, row.words)) for table in tables for row in table.rows]
    if all(len(each) == 1 and each[0].isdecimal() for each in words):
        return class_list_for({int(number): (number,) for (number,) in words})
    return ClassList.mernet()


def _images(
    tables: Sequence[LabelFile], classes: ClassList, finder: PictureFinder, problems: Problems
) -> list[_Image]:
    """The images of all tables, each once; what is wrong with a row goes to `problems`."""
    images: dict[str, _Image] = {}
    for table in tables:
        problems.found.extend(_unknown_columns(table, classes))
        for row in table.rows:
            try:
                path = finder.find(row.image, row.part)
                image = _Image(path, _shown(row, classes), row.part, f"{table.path}:{row.line}")
            except DataSetError as error:
                problems.add(table.path, row.line, str(error))
                continue
            first = images.setdefault(path.name.lower(), image)
            if (first.path, first.shown, first.part) != (image.path, image.shown, image.part):
                problems.add(table.path, row.line, f"{row.image!r} is another in {first.source}")
    return list(images.values())


def _unknown_columns(table: LabelFile, classes: ClassList) -> Iterator[str]:
    for column in table.columns:
        if classes.place(column) is None:
            yield f"{table.path}:1: the column {column!r} is no class; rename or remove it"


def _shown(row: LabelRow, classes: ClassList) -> frozenset[int]:
    """The places of the classes that a row names, each of them once."""
    places = [classes.place(word) for word in row.words]
    if None in places:
        word = row.words[places.index(None)]
        raise DataSetError(
            f"{word!r} is no class; use codes of MERNet's, or list the set's own in {CLASS_TABLE}"
        )
    if len(set(places)) < len(places):
        raise DataSetError(f"the classes {' '.join(row.words)} name one of them twice")
    return frozenset(place for place in places if place is not None)


def _data_set(images: Sequence[_Image], classes: ClassList) -> DataSet:
    labels = np.zeros((len(images), len(classes.codes)), dtype=np.bool_)
    for row, image in zip(labels, images, strict=True):
        row[list(image.shown)] = True
    return DataSet(
        classes=classes.codes,
        class_names=classes.names,
        paths=tuple(image.path for image in images),
        labels=labels,
        parts=tuple(image.part for image in images),
    )
