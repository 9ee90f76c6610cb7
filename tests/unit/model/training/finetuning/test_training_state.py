"""The saved state of a fine-tuning, and interrupts delayed to the end of a step."""

import signal
from pathlib import Path
from threading import Thread

import pytest
import torch

from mernet.model.errors import TrainingError
from mernet.model.training.finetuning.training_state import (
    STATE_FILE,
    delay_interrupts,
    load_state,
    save_state,
)


def test_a_state_is_loaded_as_it_was_saved(tmp_path: Path):
    save_state(tmp_path / "new", {"seed": 1}, {"step": 3, "weights": {"a": torch.arange(3)}})
    state = load_state(tmp_path / "new", {"seed": 1})
    assert state is not None
    assert state["step"] == 3
    assert torch.equal(state["weights"]["a"], torch.arange(3))


def test_without_a_saved_state_nothing_is_loaded(tmp_path: Path):
    assert load_state(tmp_path, {"seed": 1}) is None


def test_a_new_state_replaces_the_old_one_and_leaves_no_other_file(tmp_path: Path):
    for step in (1, 2):
        save_state(tmp_path, {}, {"step": step})
    assert load_state(tmp_path, {}) == {"step": 2}
    assert [path.name for path in tmp_path.iterdir()] == [STATE_FILE]


def test_a_state_that_cannot_be_written_leaves_the_old_one(tmp_path: Path):
    save_state(tmp_path, {}, {"step": 1})
    with pytest.raises(AttributeError, match="pickle"):
        save_state(tmp_path, {}, {"step": lambda: None})
    assert load_state(tmp_path, {}) == {"step": 1}


def test_every_setting_that_differs_is_named(tmp_path: Path):
    save_state(tmp_path, {"seed": 1, "head": "chain", "old": 1}, {})
    with pytest.raises(TrainingError, match=r"head \(chain, now softmax\), old \(1, now None\)"):
        load_state(tmp_path, {"seed": 1, "head": "softmax"})


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path: Path):
    marker = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (marker,)

    torch.save({"fingerprint": {}, "state": Trap()}, tmp_path / STATE_FILE)
    with pytest.raises(TrainingError, match="is damaged or not a training state"):
        load_state(tmp_path, {})
    assert not marker.exists()


def test_an_interrupt_is_delayed_to_the_end_of_a_step():
    done = []

    def step() -> None:
        with delay_interrupts():
            signal.raise_signal(signal.SIGINT)
            done.append("the rest of the step")

    with pytest.raises(KeyboardInterrupt):
        step()
    assert done == ["the rest of the step"]


def test_a_step_outside_the_main_thread_runs_normally():
    done = []

    def step() -> None:
        with delay_interrupts():
            done.append("a step")

    thread = Thread(target=step)
    thread.start()
    thread.join()
    assert done == ["a step"]
