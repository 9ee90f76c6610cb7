"""Loads a labelled data set from a folder or a label file, in any supported layout."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from mernet.model.errors import DataSetError, NoClassListError
from mernet.model.training.data.class_list import (
    CLASS_TABLE_FILE,
    MAPPING_FILE,
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
from mernet.printable import printable

LABEL_SUFFIXES = (".csv", ".tsv", ".txt")
ClassOrder = Literal["chain"]
USUAL_NAMES = ("annotation", "annotations", "labels")


@dataclass(frozen=True, slots=True)
class _Image:
    """A picture file, the indices of its classes, its part, and the file and line that list it."""

    path: Path
    shown: frozenset[int]
    part: Part | None
    source: str


def load_data_set(path: Path, class_order: ClassOrder | None = None) -> DataSet:
    """Load the labelled images of a folder or a label file.

    The label files of a folder are the first of: files named after the parts (train.txt, val.txt,
    test.txt; also .csv, .tsv), annotation.csv (Mars-Bench's name), labels.csv, the only .csv, .tsv
    or .txt file. `label_files` describes their layouts, `picture_files` where pictures may be.

    Class numbers refer to mapping.json or classes.tsv beside the label file. Without one, they are
    the set's own classes if each image has exactly one number; otherwise nothing says which classes
    they are, and `class_order` has to. MERNet classes that the files do not mention are shown by no
    image.

    Args:
        path: The folder or the label file.
        class_order: "chain" if class numbers 0 to 24 are MERNet's classes in chain order.

    Raises:
        NoClassListError: Images have several class numbers, and there is no list of classes.
        DataSetError: A picture is missing or labelled twice in different ways, a class is unknown,
            or a number of columns is wrong; the message names the first problems by file and line.
    """
    if not path.exists():
        raise DataSetError(f"{path} does not exist; give the folder of a data set or a label file")
    folder = path if path.is_dir() else path.parent
    listed_classes = read_class_list(folder)
    problems = Problems()
    label_files = [
        read_label_file(file, listed_classes or ClassList.mernet(), problems)
        for file in _find_label_files(path)
    ]
    problems.raise_any()
    classes = listed_classes or _infer_classes(label_files, class_order)
    images = _collect_images(label_files, classes, PictureFinder(folder), problems)
    problems.raise_any()
    if not images:
        raise DataSetError(f"{label_files[0].path}: lists no image; give another label file")
    return _build_data_set(images, classes)


def _find_label_files(path: Path) -> list[Path]:
    """Return the label files of a data set: one, or one for each part."""
    if path.is_file():
        return [path]
    files = [
        file
        for file in sorted(path.iterdir())
        if file.suffix.lower() in LABEL_SUFFIXES
        and file.is_file()
        and file.name != CLASS_TABLE_FILE
    ]
    of_parts = [file for file in files if part_from_file_name(file)]
    usual = [file for name in USUAL_NAMES for file in files if file.stem.lower() == name]
    if of_parts or usual or len(files) == 1:
        return of_parts or usual[:1] or files
    raise DataSetError(
        f"{path} contains {len(files) or 'no'} possible label files "
        f"({', '.join(LABEL_SUFFIXES)}); give the label file itself, or name it labels.csv"
    )


def _infer_classes(label_files: Sequence[LabelFile], class_order: ClassOrder | None) -> ClassList:
    """Return the classes that label files mention, if no list of classes exists.

    Raises:
        NoClassListError: They mention only numbers, and nothing says which classes these are.
    """
    if class_order == "chain":
        return ClassList.mernet()
    columns = [column for label_file in label_files for column in label_file.columns]
    if columns:
        mernet = ClassList.mernet()
        if any(mernet.index_of(column) is not None for column in columns):
            return mernet
        return class_list_for(dict(enumerate((name,) for name in dict.fromkeys(columns))))
    rows = [row for label_file in label_files for row in label_file.rows]
    words = [tuple(map(normalise_word, row.words)) for row in rows]
    if all(len(each) == 1 and each[0].isdecimal() for each in words):
        return class_list_for({int(number): (number,) for (number,) in words})
    if any(word.isdecimal() for each in words for word in each):
        raise NoClassListError(
            f"{label_files[0].path} names classes by numbers, and nothing says which classes they "
            f"are; put the list of classes ({MAPPING_FILE} or {CLASS_TABLE_FILE}) beside it, or "
            "say that they are MERNet's classes in chain order, from 0 (--class-order chain)"
        )
    return ClassList.mernet()


def _collect_images(
    label_files: Sequence[LabelFile], classes: ClassList, finder: PictureFinder, problems: Problems
) -> list[_Image]:
    """Return the images of all label files, each once; add what is wrong to `problems`."""
    images: dict[str, _Image] = {}
    for label_file in label_files:
        problems.found.extend(_describe_unknown_columns(label_file, classes))
        for row in label_file.rows:
            source = f"{label_file.path}:{row.line}"
            try:
                path = finder.find(row.image, row.part)
                image = _Image(path, _class_indices(row, classes), row.part, source)
            except DataSetError as error:
                problems.add(label_file.path, row.line, str(error))
                continue
            first = images.setdefault(path.name.lower(), image)
            if (first.path, first.shown, first.part) != (image.path, image.shown, image.part):
                reason = (
                    f"'{printable(row.image, 100)}' has another path, part or labels in "
                    f"{first.source}"
                )
                problems.add(label_file.path, row.line, reason)
    return list(images.values())


def _describe_unknown_columns(label_file: LabelFile, classes: ClassList) -> Iterator[str]:
    for column in label_file.columns:
        if classes.index_of(column) is None:
            yield (
                f"{printable(label_file.path)}:1: the column '{printable(column, 100)}' is not a "
                "class; rename or remove it"
            )


def _class_indices(row: LabelRow, classes: ClassList) -> frozenset[int]:
    """Return the indices of the classes that a row names."""
    indices = [classes.index_of(word) for word in row.words]
    if None in indices:
        word = row.words[indices.index(None)]
        raise DataSetError(
            f"'{printable(word, 100)}' is not a class; use MERNet's codes, or list your own in "
            f"{CLASS_TABLE_FILE}"
        )
    if len(set(indices)) < len(indices):
        raise DataSetError(f"the list {printable(' '.join(row.words), 100)} names a class twice")
    return frozenset(index for index in indices if index is not None)


def _build_data_set(images: Sequence[_Image], classes: ClassList) -> DataSet:
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
