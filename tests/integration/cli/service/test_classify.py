"""`mernet classify`: one bad file stops nothing, and is named."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from mernet.cli.service import classify as command
from mernet.model.classes import CODES
from mernet.model.errors import CheckpointError


@pytest.fixture
def loaded(monkeypatch) -> list[Path]:
    """The checkpoints that were loaded; each gives every class a probability of 0.5."""
    loads: list[Path] = []

    def load(path: Path, _: object) -> SimpleNamespace:
        loads.append(path)
        return SimpleNamespace(
            batch_size=2,
            threshold=0.9,
            probabilities=lambda pictures: np.full((len(pictures), 25), 0.5, np.float32),
        )

    monkeypatch.setattr(command, "load_checkpoint", load)
    monkeypatch.setattr(command, "read_header", lambda _: SimpleNamespace(classes=CODES))
    return loads


@pytest.fixture
def run(loaded):
    app = typer.Typer()
    app.command()(command.classify)
    return lambda *words: CliRunner().invoke(
        app, ["--checkpoint", "a.safetensors", *map(str, words)]
    )


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    good = [tmp_path / f"good{number}.png" for number in range(3)]
    for path in good:
        Image.effect_noise((16, 16), 90).save(path)
    Image.new("L", (1, 1)).save(tmp_path / "one.png")
    os.mkfifo(tmp_path / "pipe.img")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "[b]\x1b[2J.jpg").write_bytes(b"\xff\xd8\xff")
    names = ["good0.png", "one.png", "pipe.img", "good1.png", "folder.png", "[b]\x1b[2J.jpg"]
    return {name: tmp_path / name for name in [*names, "missing.img", "good2.png"]}


def test_bad_files_are_named_and_the_others_are_classified(run, files) -> None:
    ran = run("--json", *files.values())
    assert ran.exit_code == 1
    results = json.loads(ran.stdout)
    assert [Path(each["file"]).name for each in results] == list(files)
    for name, result in zip(files, results, strict=True):
        assert ("probabilities" in result) == name.startswith("good"), result
    assert "5 of 8 files could not be classified" in ran.stderr


def test_the_table_names_bad_files_as_they_are(run, files) -> None:
    ran = run(*files.values())
    assert ran.exit_code == 1
    assert r"[b]\x1b[2J.jpg" in ran.stdout
    assert "\x1b" not in ran.output
    assert ran.stdout.count("Error:") == 5


def test_no_classifier_is_loaded_if_no_file_can_be_read(run, loaded, files) -> None:
    assert run(files["pipe.img"], files["missing.img"]).exit_code == 1
    assert loaded == []


def test_a_bad_checkpoint_is_told_before_anything_is_loaded(run, loaded, files, monkeypatch):
    def refuse(path: Path) -> None:
        raise CheckpointError("bad")

    monkeypatch.setattr(command, "read_header", refuse)
    assert isinstance(run(files["good0.png"]).exception, CheckpointError)
    assert loaded == []


def test_good_files_alone_end_well(run, loaded, files) -> None:
    ran = run(*[path for name, path in files.items() if name.startswith("good")])
    assert ran.exit_code == 0
    assert len(loaded) == 1
