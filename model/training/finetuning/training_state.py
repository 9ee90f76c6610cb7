"""The saved state of a fine-tuning, from which a stopped run continues after the last step."""

import pickle
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from mernet.atomic_file import replacing_file
from mernet.model.errors import TrainingError
from mernet.model.training.finetuning.job import Fingerprint
from mernet.printable import printable

STATE_FILE = "state.pt"


def save_state(folder: Path, fingerprint: Fingerprint, state: Mapping[str, Any]) -> None:
    """Save a state atomically: a reader sees the old file or the new one, never a part.

    Args:
        folder: Folder for the file; created if necessary.
        fingerprint: The job that the state belongs to.
        state: Tensors, numbers, and lists and dicts of these.

    Raises:
        TrainingError: The file cannot be written.
    """
    with replacing_file(folder / STATE_FILE) as unfinished:
        try:
            torch.save({"fingerprint": fingerprint, "state": dict(state)}, unfinished)
        except RuntimeError as error:  # torch raises this if the disk is full
            raise TrainingError(
                f"cannot write into {folder} ({printable(error)}); free some space"
            ) from error


def load_state(folder: Path, fingerprint: Fingerprint) -> dict[str, Any] | None:
    """Load the last state that was saved for the same job.

    No pickled code is run.

    Returns:
        The state, its tensors on the CPU; None if none was saved.

    Raises:
        TrainingError: The file is damaged, or belongs to a job with other settings, which the
            message names.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return None
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        saved_fingerprint, state = saved["fingerprint"], saved["state"]
    except (OSError, EOFError, RuntimeError, KeyError, pickle.UnpicklingError) as error:
        raise TrainingError(
            f"{path} is damaged or not a training state; delete it to start from the beginning"
        ) from error
    _require_equal(saved_fingerprint, fingerprint, path)
    loaded: dict[str, Any] = state
    return loaded


@contextmanager
def delay_interrupts() -> Iterator[None]:
    """Delay Ctrl-C until the end of the block, so that the state never contains half a step.

    Outside the main thread this does nothing, since only the main thread receives Ctrl-C.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        arrived.append(number)

    previous = signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if arrived:
        signal.raise_signal(signal.SIGINT)


def _require_equal(saved: Fingerprint, current: Fingerprint, path: Path) -> None:
    names = sorted(saved.keys() | current.keys())
    changes = ", ".join(
        f"{name} ({saved.get(name)}, now {current.get(name)})"
        for name in names
        if saved.get(name) != current.get(name)
    )
    if changes:
        raise TrainingError(
            f"{path} was saved with a different {changes}; use the same settings to continue, or "
            "delete it to start from the beginning"
        )
