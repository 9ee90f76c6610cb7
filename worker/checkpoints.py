"""Checkpoint files: stored in the data folder under their sha256, loaded as classifiers."""

import os
import platform
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from mernet.atomic_file import replacing_file
from mernet.db import classifiers
from mernet.model.checkpoint import Header, sha256_of
from mernet.model.classes import CODES
from mernet.model.errors import ModelError
from mernet.printable import printable
from mernet.worker.errors import CheckpointUnusable, ClassesNotPublishable
from mernet.worker.faults import is_fault
from mernet.worker.settings import Settings

if TYPE_CHECKING:
    from mernet.model.classifier import Classifier


DEMO_CLASSIFIER = "demo-drawn-scenes"
"""Name of the classifier that the demo trains."""


def store_checkpoint(path: Path, folder: Path) -> tuple[Path, str]:
    """Copy a checkpoint into `folder`, unless a sound copy is already there.

    Returns:
        The path of the copy, which has the sha256 in its name, and the sha256.
    """
    sha256 = sha256_of(path)
    stored = folder / f"{sha256}.safetensors"
    if not _has_sha256(stored, sha256):
        with replacing_file(stored) as unfinished:
            shutil.copyfile(path, unfinished)
    return stored, sha256


def _has_sha256(path: Path, sha256: str) -> bool:
    try:
        return sha256_of(path) == sha256
    except OSError:
        return False


def check_publishable(path: Path, header: Header) -> None:
    """Check that a checkpoint has MERNet's 25 classes.

    Raises:
        ClassesNotPublishable: If it has other classes, or in another order.
    """
    if header.classes != CODES:
        raise ClassesNotPublishable(
            f"{path} classifies {len(header.classes)} classes that are not MERNet's 25 in chain "
            "order, so its results cannot be published; it can only be evaluated."
        )


def load_checkpoint(path: Path, config: Settings, processes: int = 1) -> "Classifier":
    """Load a checkpoint as a classifier on the device that the settings name.

    Args:
        path: The checkpoint file.
        config: The settings, of which the device and the batch size are used.
        processes: How many processes share this machine's cores; on a CPU, the classifier gets as
            many threads as there are cores for each process.

    Raises:
        ModelError: If the file cannot be read or is not a checkpoint.
    """
    # Imported here because it imports torch, which only a process that classifies needs.
    from mernet.model.classifier import Classifier

    return Classifier.load(
        path,
        device=None if config.device == "auto" else config.device,
        batch_size=config.batch_size,
        threads=max(1, len(os.sched_getaffinity(0)) // processes),
    )


def name_on_this_host(engine: sa.Engine, sha256: str) -> str:
    """Return a classifier's name with this host's, since a checkpoint may be missing on one."""
    return f"{classifiers.get(engine, sha256).name} ({sha256[:12]}) on {platform.node()}"


def load_registered_classifier(
    engine: sa.Engine, sha256: str, config: Settings, processes: int
) -> "Classifier":
    """Load the registered classifier with this sha256, with arguments as in `load_checkpoint`.

    Raises:
        CheckpointUnusable: If the file is missing on this host, cannot be loaded, or has changed
            since it was registered.
        DeviceError: If the device is not available, or failed.
    """
    path = Path(classifiers.get(engine, sha256).path)
    try:
        _check_readable(path)
        loaded = load_checkpoint(path, config, processes)
    except ModelError as error:
        if is_fault(error):  # of this machine or its device, not of the file
            raise
        raise CheckpointUnusable(f"The checkpoint cannot be used: {printable(error)}") from error
    if loaded.sha256 != sha256:
        raise CheckpointUnusable(
            f"The checkpoint {path} has changed since it was registered; restore the file, or "
            "register the changed one as another classifier."
        )
    return loaded


def _check_readable(path: Path) -> None:
    """Open a checkpoint's file.

    Raises:
        CheckpointUnusable: There is none, or this process cannot read it.
    """
    host = platform.node()
    try:
        with path.open("rb") as file:
            file.read(1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointUnusable(
            f"The checkpoint {path} is not on {host}; copy it there."
        ) from error
    except OSError as error:
        if is_fault(error):
            raise
        raise CheckpointUnusable(
            f"The checkpoint {path} cannot be read on {host} ({error.strerror}); correct its "
            "permissions and those of the folders above it, or copy it there again."
        ) from error
