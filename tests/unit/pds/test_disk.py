"""Files on disk that are gone, and those of which that cannot be found out."""

import os

import pytest

from mernet.pds.disk import gone_files


@pytest.fixture
def file(tmp_path):
    """A file in a folder of its own, beside another folder that holds something."""
    folder = tmp_path / "disks" / "disk" / "images"
    folder.mkdir(parents=True)
    (tmp_path / "disks" / "other").mkdir()
    file = folder / "1 a.img"
    file.touch()
    return file


def is_gone(file):
    urls = {file.as_uri(), "https://example.org/1.img"}
    found = gone_files(urls)
    assert found <= {file.as_uri()}
    return bool(found)


def test_a_file_that_is_there_is_not_gone(file):
    assert not is_gone(file)


def test_a_file_is_gone_from_a_folder_that_holds_others(file):
    file.rename(file.with_name("2.img"))
    assert is_gone(file)


def test_a_file_is_gone_with_its_folder_beside_which_there_are_others(file):
    file.unlink()
    file.parent.rmdir()
    file.parent.parent.rmdir()
    assert is_gone(file)


@pytest.mark.parametrize("levels", [0, 1])
def test_a_file_below_an_empty_folder_may_be_on_a_disk_that_is_not_mounted(file, levels):
    file.unlink()
    for folder in list(file.parents)[:levels]:
        folder.rmdir()
    assert not is_gone(file)


def test_a_file_may_be_on_a_disk_that_is_not_mounted_beside_others(file, monkeypatch):
    file.unlink()
    for folder in list(file.parents)[:2]:
        folder.rmdir()
    mounted = str(file.parents[2] / "other")
    monkeypatch.setattr(os.path, "ismount", lambda path: path == mounted)
    assert not is_gone(file)


def test_a_link_may_lead_to_a_disk_that_is_not_mounted(file, tmp_path):
    images = tmp_path / "images"
    images.symlink_to(file.parent)
    linked = file.with_name("2.img")
    linked.symlink_to(file)
    file.rename(tmp_path / "a")
    assert not is_gone(linked)
    (tmp_path / "a").rename(file)
    file.parents[1].rename(tmp_path / "away")
    assert not is_gone(images / file.name)


@pytest.mark.parametrize("url", ["file://elsewhere/1.img", "file:///a%00b", "file://[/1.img"])
def test_what_cannot_be_looked_for_is_not_gone(url):
    assert not gone_files([url])
