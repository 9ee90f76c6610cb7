"""Checkpoint files: kept under their sha256 in the data folder, loaded where they are needed."""

import os
import platform
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from mernet.db import classifiers
from mernet.model.checkpoint import Header, sha256_of
from mernet.model.classes import CODES
from mernet.model.errors import ModelError
from mernet.worker.errors import CheckpointUnusable
from mernet.worker.settings import Settings

if TYPE_CHECKING:
    from mernet.model.classifier import Classifier


DEMO_CLASSIFIER = "demo-drawn-scenes"
"""Name of the classifier that `mernet demo` makes."""


def keep(path: Path, folder: Path) -> tuple[Path, str]:
    """Copy a checkpoint into `folder`, named by its sha256; its place there and the sha256."""
    sha256 = sha256_of(path)
    kept = folder / f"{sha256}.safetensors"
    if not kept.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(f".{os.getpid()}.part")
        shutil.copyfile(path, partial)
        partial.replace(kept)
    return kept, sha256


def check_publishable(path: Path, header: Header) -> None:
    """Raises `CheckpointUnusable` where a checkpoint's classes are not MERNet's 25."""
    if header.classes != CODES:
        raise CheckpointUnusable(
            f"{path} classifies {len(header.classes)} classes that are not MERNet's 25 in chain "
            "order, so its results cannot be published; judge it with `mernet evaluate`."
        )


def load(path: Path, config: Settings, processes: int = 1) -> "Classifier":
    """The classifier of a checkpoint, on the device that the settings name.

    On a CPU its threads are the cores divided by `processes`. Raises `ModelError`.
    """
    from mernet.model.classifier import Classifier

    return Classifier.load(
        path,
        device=None if config.device == "auto" else config.device,
        batch_size=config.batch_size,
        threads=max(1, len(os.sched_getaffinity(0)) // processes),
    )


def load_classifier(
    engine: sa.Engine, sha256: str, config: Settings, processes: int
) -> "Classifier":
    """The registered classifier with this sha256, loaded as `load` does.

    Raises `CheckpointUnusable` when the file is missing on this machine, cannot be loaded, or is
    another than the registered one.
    """
    path = Path(classifiers.get(engine, sha256).path)
    if not path.is_file():
        raise CheckpointUnusable(
            f"The checkpoint {path} is not on {platform.node()}; copy it there and start a new run."
        )
    try:
        loaded = load(path, config, processes)
    except ModelError as error:
        raise CheckpointUnusable(f"The checkpoint cannot be used: {error}") from error
    if loaded.sha256 != sha256:
        raise CheckpointUnusable(
            f"The checkpoint {path} has changed since it was registered; restore the file, or add "
            "it again with `mernet classifier add`."
        )
    return loaded
