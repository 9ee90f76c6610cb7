"""The file from which a fine-tuning goes on after it was stopped, always between two steps."""

import os
import pickle
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from mernet.model.errors import TrainingError
from mernet.model.training.finetuning.task import Settings

STATE_FILE = "state.pt"


def save_state(folder: Path, settings: Settings, state: Mapping[str, Any]) -> None:
    """Write tensors, numbers, lists and dicts of these; the file appears whole or not at all.

    Raises TrainingError where it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as beside:
        unfinished = Path(beside) / STATE_FILE
        try:
            torch.save({"settings": settings, "state": dict(state)}, unfinished)
        except RuntimeError as error:  # what torch raises where the disk is full
            raise TrainingError(f"cannot write into {folder} ({error}); make space") from error
        os.replace(unfinished, folder / STATE_FILE)


def load_state(folder: Path, settings: Settings) -> dict[str, Any] | None:
    """What was saved last under the same settings, on the CPU; None where nothing was.

    Nothing pickled is run. Raises TrainingError where the file is damaged, and where it was saved
    under other settings, naming them.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return None
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        then, state = saved["settings"], saved["state"]
    except (OSError, EOFError, RuntimeError, KeyError, pickle.UnpicklingError) as error:
        raise TrainingError(
            f"{path} is damaged or no state of this program; delete it to start from the beginning"
        ) from error
    names = sorted(then.keys() | settings.keys())
    other = [name for name in names if then.get(name) != settings.get(name)]
    if other:
        changes = ", ".join(
            f"{name} ({then.get(name)}, now {settings.get(name)})" for name in other
        )
        raise TrainingError(
            f"{path} was begun with another {changes}; give the same to go on, or delete it to "
            "start from the beginning"
        )
    loaded: dict[str, Any] = state
    return loaded


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Ctrl-C inside takes effect at the end, so that what is saved then is no half-made step.

    Where this is not the main thread, which alone gets Ctrl-C, nothing needs to wait.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        arrived.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if arrived:
        signal.raise_signal(signal.SIGINT)
