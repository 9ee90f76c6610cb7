"""Folders that one other user may pass through, and nobody else."""

import os
import pwd
import stat
import subprocess
from pathlib import Path

import pytest

from mernet.worker.errors import ServiceError
from mernet.worker.folder_access import let_pass

STRANGER = pwd.getpwnam("nobody").pw_uid

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root lets others pass")


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    folder = tmp_path / "home" / "data"
    folder.mkdir(parents=True)
    (folder / "letter").write_text("secret")
    for each in (folder.parent, folder):
        each.chmod(0o700)
    return folder


def can(uid: int, *command: str) -> bool:
    return subprocess.run(command, user=uid, extra_groups=[], capture_output=True).returncode == 0


def test_the_user_may_pass_but_neither_list_nor_write(closed: Path) -> None:
    opened = let_pass(STRANGER, closed)
    assert opened[:2] == [closed, closed.parent]
    assert can(STRANGER, "cat", str(closed / "letter"))
    assert not can(STRANGER, "ls", str(closed))
    assert not can(STRANGER, "touch", str(closed / "new"))


def test_other_users_stay_outside(closed: Path) -> None:
    let_pass(STRANGER, closed)
    assert not can(STRANGER - 1, "cat", str(closed / "letter"))
    assert closed.stat().st_mode & 0o007 == 0


def test_the_group_keeps_what_it_may_do_and_gets_nothing(closed: Path) -> None:
    closed.chmod(0o750)
    let_pass(STRANGER, closed)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o750


def test_a_second_time_changes_nothing(closed: Path) -> None:
    let_pass(STRANGER, closed)
    assert let_pass(STRANGER, closed) == []


def test_a_folder_that_was_closed_again_by_its_mode_is_passed_again(closed: Path) -> None:
    let_pass(STRANGER, closed)
    closed.chmod(0o700)
    assert not can(STRANGER, "cat", str(closed / "letter"))
    assert let_pass(STRANGER, closed) == [closed]
    assert can(STRANGER, "cat", str(closed / "letter"))


def test_an_open_folder_is_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o755)
    assert folder not in let_pass(STRANGER, folder)
    with pytest.raises(OSError, match="No data"):
        os.getxattr(folder, "system.posix_acl_access")


def test_a_file_system_without_access_lists_is_named_with_what_to_do(closed, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", refuse)
    with pytest.raises(ServiceError, match=r"cannot pass through .*/data .*access lists.*MERNET_D"):
        let_pass(STRANGER, closed)
