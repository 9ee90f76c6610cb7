"""Checkpoint files: stored under their sha256, repaired when they are added again, and checked."""

import errno
from pathlib import Path
from types import SimpleNamespace

import pytest

from mernet.model.errors import CheckpointError, DeviceError
from mernet.worker import checkpoints
from mernet.worker.checkpoints import load_registered_classifier, store_checkpoint
from mernet.worker.errors import CheckpointUnusable
from mernet.worker.settings import Settings

CONTENT = b"the weights of a classifier"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize("damaged", [b"", CONTENT[:5], CONTENT.replace(b"weights", b"weighty")])
def test_a_stored_checkpoint_that_is_damaged_is_replaced_when_it_is_added_again(
    checkpoint, tmp_path, damaged
):
    stored, _ = store_checkpoint(checkpoint, tmp_path / "stored")
    stored.write_bytes(damaged)
    assert store_checkpoint(checkpoint, tmp_path / "stored")[0] == stored
    assert stored.read_bytes() == CONTENT


def test_a_stored_checkpoint_that_is_sound_is_not_written_again(checkpoint, tmp_path):
    stored, _ = store_checkpoint(checkpoint, tmp_path / "stored")
    before = stored.stat().st_ino
    store_checkpoint(checkpoint, tmp_path / "stored")
    assert stored.stat().st_ino == before


@pytest.fixture
def load(checkpoint, monkeypatch):
    """Loads the registered classifier whose file is `checkpoint`."""

    def registered(engine, sha256):
        return SimpleNamespace(path=str(checkpoint))

    monkeypatch.setattr(checkpoints.classifiers, "get", registered)
    return lambda: load_registered_classifier(None, "a" * 64, Settings(), 1)


def refusing(number, text):
    def open_(self, *args, **options):
        raise OSError(number, text)

    return open_


def test_a_checkpoint_that_is_missing_is_said_to_be_not_on_this_host(load, checkpoint):
    checkpoint.unlink()
    with pytest.raises(CheckpointUnusable, match=r"is not on .*; copy it there"):
        load()


@pytest.mark.parametrize(
    ("number", "text"),
    [(errno.EACCES, "Permission denied"), (errno.EIO, "Input/output error")],
)
def test_a_checkpoint_that_cannot_be_read_is_said_with_the_cause(load, monkeypatch, number, text):
    monkeypatch.setattr(Path, "open", refusing(number, text))
    with pytest.raises(CheckpointUnusable, match=rf"cannot be read on .* \({text}\)"):
        load()


def test_too_many_open_files_are_no_fault_of_the_checkpoint(load, monkeypatch):
    monkeypatch.setattr(Path, "open", refusing(errno.EMFILE, "Too many open files"))
    with pytest.raises(OSError, match="Too many open files"):
        load()


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (CheckpointError("it is no checkpoint"), CheckpointUnusable),
        (DeviceError("the device failed"), DeviceError),
    ],
)
def test_a_device_that_fails_while_a_checkpoint_is_loaded_is_no_fault_of_the_checkpoint(
    load, monkeypatch, error, raised
):
    def fail(*args):
        raise error

    monkeypatch.setattr(checkpoints, "load_checkpoint", fail)
    with pytest.raises(raised):
        load()
