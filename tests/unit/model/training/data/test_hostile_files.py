"""Label files, lists of classes, splits and exports with absurd contents: one error names them."""

import os
from pathlib import Path

import pytest

from mernet.model.errors import DataSetError
from mernet.model.training.data.class_list import ClassList, read_class_list
from mernet.model.training.data.label_files import read_label_file
from mernet.model.training.data.split import read_parts
from mernet.model.training.data.zooniverse import COLUMNS, read_export
from mernet.model.training.text_files import Problems, read_text


def refused(read, path: Path) -> str:
    """The message with which a reader refuses a file."""
    with pytest.raises(DataSetError) as caught:
        read(path)
    message = str(caught.value)
    assert path.name in message
    assert message.isprintable()
    assert len(message) < 2_000
    return message


def read_labels(path: Path) -> None:
    problems = Problems()
    read_label_file(path, ClassList.mernet(), problems)
    problems.raise_any()


@pytest.mark.parametrize(
    "labels",
    [
        "[" * 5_000,
        "[" * 100_000,
        "(" * 300,
        "['a'",
        "[1, [2]]",
        "[None]",
        "[" + "1," * 9_000,
    ],
)
def test_a_list_of_labels_that_is_none_is_refused_with_its_line(tmp_path: Path, labels) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(f"file\tlabels\na.jpg\tsky\nb.jpg\t{labels}\n")
    assert "a.tsv:3" in refused(read_labels, path)


@pytest.mark.parametrize("cell", ["\x1b[2J", "9" * 400_000, "a" * 100_000, "\u202e"])
def test_a_cell_is_quoted_shortly_and_printable(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"file,sky,soil\na.jpg,1,0\nb.jpg,0,1\nc.jpg,{cell},1\n")
    refused(read_labels, path)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"' + "9" * 5000 + '": "a"}',
        '{"0": ' + "9" * 5000 + "}",
        '{"0": [["a"]]}',
        '{"٣": "a", "x": "b"}',
        '{"0": []}',
        "[1]",
    ],
)
def test_a_mapping_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "mapping.json").write_text(text)
    with pytest.raises(DataSetError, match=r"mapping\.json"):
        read_class_list(tmp_path)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("classification_id", "x"),
        ("classification_id", "9" * 5000),
        ("created_at", "0001-01-01T00:00:00+99:00"),
        ("created_at", "yesterday\x1b[2J"),
        ("annotations", "[" * 100_000),
        ("annotations", "9" * 5000),
        ("annotations", '[{""task"": 1, ""value"": {""a"": 1}}]'),
        ("subject_data", "{}"),
        ("subject_data", '{""1"": 3}'),
        ("user_id", ""),
    ],
)
def test_a_row_of_an_export_that_is_none_is_refused_with_its_line(
    tmp_path: Path, column: str, value: str
) -> None:
    right = {
        "classification_id": "1",
        "user_id": "2",
        "user_ip": "",
        "workflow_id": "3",
        "created_at": "2018-03-01 12:00:00 UTC",
        "annotations": '[{""task"": ""T0"", ""value"": [""sky""]}]',
        "subject_data": '{""9"": {""Filename"": ""a.jpg""}}',
    }
    rows = [right, right | {column: value}]
    path = tmp_path / "export.csv"
    lines = [",".join(f'"{row[name]}"' for name in COLUMNS) for row in rows]
    path.write_text("\n".join([",".join(COLUMNS), *lines]) + "\n")
    assert "export.csv:3" in refused(read_export, path)


def test_a_split_with_other_parts_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text("file,part\na.jpg,train\nb.jpg,\x1b[2J\n")
    assert "split.csv:3" in refused(read_parts, path)


@pytest.mark.timeout(20)
def test_a_pipe_a_folder_and_paths_that_no_file_has_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    for name in ("pipe.csv", "folder.csv", "missing.csv", "a" * 300, "a\0", "a\udcff\x1b"):
        with pytest.raises(DataSetError) as caught:
            read_text(tmp_path / name)
        assert str(caught.value).isprintable()
