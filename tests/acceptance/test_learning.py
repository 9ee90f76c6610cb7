"""From drawn images to an evaluated checkpoint with the commands; mistakes and Ctrl-C."""

import csv
import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mernet.cli.commands import app
from mernet.errors import MernetError
from mernet.model.checkpoint import read_header
from mernet.model.training.finetuning.recipes import RECIPES
from mernet.self_command import self_command

SMALL = ("--weights", "random", "--input-size", "32")


def mernet(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def succeed(*words: str | Path) -> str:
    """What a command that must succeed prints on standard output."""
    ran = mernet(*words)
    assert ran.exit_code == 0, f"{ran.output}\n{ran.exception}"
    return ran.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory):
    """A folder with the drawn data set `scenes`; gone afterwards, since checkpoints are large."""
    folder = tmp_path_factory.mktemp("learning")
    succeed("data", "draw", "--out", folder / "scenes", "--images", 150, "--size", 64)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def checkpoint(place: Path) -> Path:
    """A checkpoint with frozen features."""
    path = place / "frozen.safetensors"
    succeed("train", "--data", place / "scenes", "--out", path, "--frozen", *SMALL)
    return path


def test_the_checkpoint_records_what_it_was_trained_on(place: Path, checkpoint: Path):
    described = json.loads(succeed("data", "describe", place / "scenes", "--json"))
    header = read_header(checkpoint)
    assert header.name == "frozen"
    assert header.data_set_hash == described["digest"]
    assert sum(header.training["images"].values()) == described["images"] == 150
    assert header.training["recipe"] == RECIPES["paper"].changed(variants=1).model_dump(mode="json")


def test_no_group_of_images_straddles_the_split(checkpoint: Path):
    with (checkpoint.with_suffix(".training") / "split.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    # Rover, site and sequence of a product name.
    parts = {(row["file"][0], row["file"][14:16], row["file"][18:23]): set() for row in rows}
    for row in rows:
        parts[row["file"][0], row["file"][14:16], row["file"][18:23]].add(row["part"])
    assert all(len(of_group) == 1 for of_group in parts.values())
    assert 20 < len(parts) < 100


def test_the_report_evaluates_chain_and_control_on_the_test_part(place: Path, checkpoint: Path):
    shown = succeed("evaluate", checkpoint, "--data", place / "scenes")
    report = json.loads((checkpoint.with_suffix(".report") / "evaluation.json").read_text())
    assert report["images"] == read_header(checkpoint).training["images"]["test"]
    assert report["main"]["name"] == "chain"
    assert report["control"] is not None
    assert "would be published" in shown
    page = (checkpoint.with_suffix(".report") / "evaluation.html").read_text()
    assert "Table 1" in page


def test_a_data_set_the_checkpoint_was_not_trained_on_is_used_as_a_whole(
    place: Path, checkpoint: Path
):
    other = place / "others"
    succeed("data", "draw", "--out", other, "--images", 20, "--size", 64, "--seed", 2)
    shown = succeed("evaluate", checkpoint, "--data", other, "--out", place / "r", "--json")
    assert json.loads(shown)["images"] == 20


def test_a_split_other_than_the_one_trained_with_is_refused(place: Path, checkpoint: Path):
    other = place / "other.csv"
    succeed("data", "split", place / "scenes", "--out", other, "--seed", 9)
    ran = mernet("evaluate", checkpoint, "--data", place / "scenes", "--split", other)
    assert ran.exit_code == 2
    assert "not the split that the checkpoint was trained with" in " ".join(
        ran.output.replace("│", " ").split()
    )


def test_training_images_are_left_out_of_a_corrected_data_set(place: Path, checkpoint: Path):
    corrected = place / "corrected"
    shutil.copytree(place / "scenes", corrected)
    labels = (corrected / "labels.csv").read_text()
    flipped = labels.splitlines()
    flipped[1] = flipped[1][:-1] + str(1 - int(flipped[1][-1]))
    (corrected / "labels.csv").write_text("\n".join(flipped))
    words = ("evaluate", checkpoint, "--data", corrected, "--out", place / "c", "--json")
    shown = json.loads(succeed(*words))
    assert shown["images"] == read_header(checkpoint).training["images"]["test"]


def test_a_finished_training_is_not_repeated(place: Path, checkpoint: Path):
    before = checkpoint.stat().st_mtime_ns
    words = ("train", "--data", place / "scenes", "--out", checkpoint, "--frozen", *SMALL)
    succeed(*words)
    assert checkpoint.stat().st_mtime_ns == before
    succeed(*words, "--set", "weight_decay=0.1", "--set", "augmentation.rotation=5")
    recipe = read_header(checkpoint).training["recipe"]
    assert (recipe["weight_decay"], recipe["augmentation"]["rotation"]) == (0.1, 5)
    succeed(*words)


def test_fine_tuning_runs_and_writes_its_curves(place: Path):
    path = place / "tuned.safetensors"
    quick = ("--iterations", "2", "--batch-size", "4", "--variants", "1", "--device", "cpu")
    succeed("train", "--data", place / "scenes", "--out", path, *SMALL, *quick, "--recipe", "best")
    curves = (path.with_suffix(".training") / "curves.csv").read_text().splitlines()
    assert curves[0].startswith("step,train_loss")
    assert len(curves) == 2
    assert not read_header(path).training["frozen"]
    assert not (path.with_suffix(".training") / "state.pt").exists()


def test_reproduce_prints_table_1_published_and_ours(place: Path):
    words = ("--data", place / "scenes", "--out", place / "again", "--frozen", *SMALL)
    ran = mernet("reproduce", *words, "--iterations", "5")
    assert "only: --iterations." in ran.stderr
    shown = ran.stdout
    assert "Table 1 before calibration, published and ours" in shown
    means = [line.split() for line in shown.splitlines() if line.startswith("mean")]
    assert [row[3] for row in means] == ["0.029", "0.014"]
    report = json.loads((place / "again" / "mernet.report" / "evaluation.json").read_text())
    ours = [report["main"][stage]["overall"]["ece"]["bins_15"] for stage in ("before", "after")]
    assert [float(row[4]) for row in means] == pytest.approx(ours, abs=5e-4)


def test_training_stopped_by_ctrl_c_continues_when_called_again(place: Path):
    out = place / "stopped.safetensors"
    words = ("train", "--data", place / "scenes", "--out", out, "--frozen", *SMALL)
    words = (*words, "--variants", "5")
    command = self_command(*map(str, words))
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    kept = out.with_suffix(".training") / "features"
    while not list(kept.glob("*.npy")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert "Traceback" not in process.stderr.read()
    before = {path: path.stat().st_mtime_ns for path in kept.glob("*.npy")}
    assert not out.exists()
    succeed(*words)
    assert out.exists()
    assert len(list(kept.glob("*.npy"))) > len(before) > 0
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "--weights", "no.pth"), "the file does not exist"),
        (("train", "--weights", "random", "--head", "softmax"), "exactly one class"),
        (("train", "--weights", "random", "--device", "cuda:9"), "cuda:9 is not available"),
        (("train", "--weights", "random", "--backbone", "vit_l_16"), "224 pixels only"),
        (("train", "--weights", "random", "--set", "warmth=3"), "a recipe has no field warmth"),
        (("train", "--weights", "random", "--set", "warm_up"), "write FIELD=VALUE"),
        (("evaluate", "no.safetensors"), "no.safetensors does not exist"),
    ],
)
def test_a_mistake_is_answered_with_one_sentence(place: Path, words: tuple[str, ...], message: str):
    out = ("--out", place / "wrong.safetensors", "--frozen", "--input-size", "32")
    ran = mernet(*words, "--data", place / "scenes", *(out if words[0] == "train" else ()))
    assert ran.exit_code != 0
    answer = ran.output if ran.exit_code == 2 else str(ran.exception)
    assert isinstance(ran.exception, (SystemExit, MernetError))
    assert message in " ".join(answer.replace("│", " ").split())
