"""CSV files of learning are safe in a spreadsheet program and are read back as they were."""

from pathlib import Path

from mernet.model.training.text_files import read_csv, write_csv


def test_a_name_that_begins_like_a_formula_is_guarded_in_the_file_and_read_back(
    tmp_path: Path,
) -> None:
    names = ["=cmd.jpg", "-1.jpg", "@a.jpg", "+b.jpg", "'=c.jpg", "plain.jpg"]
    write_csv(tmp_path / "a.csv", ["file", "score"], [(name, -0.5) for name in names])
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert [line[0] in "'p" for line in lines[1:]] == [True] * 6
    assert lines[1] == "'=cmd.jpg,-0.5"
    rows = [cells for _, cells in read_csv(tmp_path / "a.csv")]
    assert rows[1:] == [[name, "-0.5"] for name in names]
