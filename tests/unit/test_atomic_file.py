"""Files that are written completely or not at all."""

from pathlib import Path

import pytest

from mernet.atomic_file import replacing_file


def test_a_new_file_appears_at_the_end_in_a_new_folder(tmp_path: Path):
    path = tmp_path / "new" / "file.txt"
    with replacing_file(path) as unfinished:
        unfinished.write_text("text")
        assert not path.exists()
    assert [(each, each.read_text()) for each in path.parent.iterdir()] == [(path, "text")]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail() -> None:
        with replacing_file(path) as unfinished:
            unfinished.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert [(each, each.read_text()) for each in tmp_path.iterdir()] == [(path, "old")]


def test_another_process_that_writes_the_same_file_is_not_disturbed(tmp_path: Path):
    path = tmp_path / "file.txt"
    theirs = tmp_path / "file.txt.1.part"
    theirs.write_text("half of theirs")
    with replacing_file(path) as unfinished:
        unfinished.write_text("ours")
    assert (path.read_text(), theirs.read_text()) == ("ours", "half of theirs")
