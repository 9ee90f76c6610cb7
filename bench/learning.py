"""Measure what learning achieves: six experiments, on drawn data of known truth and real pictures.

Run `python -m bench.learning FOLDER [MSL]`; it takes about 30 minutes on 2 cores. It draws two data
sets of 4,000 scenes into FOLDER, trains heads on frozen, random VGG-16 features at 128 x 128 and
evaluates them with the `mernet` command. The results go to bench/results/learning.csv. MSL is the
folder of labelled pictures of Curiosity; without it, the experiments that need it are left out.
What FOLDER already holds is used again.

`seconds` are those of training and evaluation, empty for an experiment that this script did not run
itself, and of little meaning on a busy machine; `best` and `soft` use the features that `paper` and
`msl` have computed. `dependent` is a data set with a class that no picture shows: 95% of the images
with outcrop have it, 3% of the others. Its columns compare the heads' calibrated probabilities with
those chances.
"""

import csv
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.recording import add_rows, cpu_name, option_parser
from bench.torch_device import torch_versions
from mernet.demo.data_set import DEPENDENT, TRUTH
from mernet.model.classifier import Classifier
from mernet.model.pictures import read_picture
from mernet.model.training.data.data_set import DataSet, Part
from mernet.model.training.data.loading import load_data_set
from mernet.model.training.data.split import read_split
from mernet.model.training.evaluation.predictions import predict
from mernet.self_command import self_command

FEATURES = ("--frozen", "--weights", "random", "--seed", "7", "--input-size", "128")
INTERVAL = ("value", "low", "high")
BY_SOL = ("--group-pattern", r"^(\d{4})")


def main() -> None:
    """Run the experiments that are missing in the folder, and write the results of all."""
    parser = option_parser(__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("msl", type=Path, metavar="MSL", nargs="?")
    parser.add_argument("--images", type=int, default=4000, help="of a data set (default: 4000)")
    arguments = parser.parse_args()
    rows = run_experiments(arguments.folder, arguments.msl, arguments.images)
    path = arguments.out / "learning.csv"
    add_rows(path, rows, cpu_name(), torch_versions(), replaces=("experiment",))


def run_experiments(folder: Path, msl: Path | None, images: int) -> list[dict[str, Any]]:
    """Run the experiments that are missing in the folder; return the results of all."""
    scenes, dependent = folder / "scenes", folder / "dependent"
    mernet("data", "draw", "--out", scenes, "--images", images)
    mernet("data", "draw", "--out", dependent, "--images", images, "--seed", 5, "--dependent")
    rows = [
        experiment(folder / "paper", scenes),
        experiment(folder / "best", scenes, "--recipe", "best", like=folder / "paper"),
        dependence(folder / "dep", dependent, "--recipe", "best"),
        dependence(folder / "dep_paper", dependent, like=folder / "dep"),
    ]
    if msl is not None:
        best = ("--recipe", "best", *BY_SOL)
        rows.append(experiment(folder / "msl", msl, *best))
        softmax = (*best, "--head", "softmax")
        rows.append(experiment(folder / "soft", msl, *softmax, like=folder / "msl"))
    return rows


def mernet(*words: object) -> None:
    """Run a `mernet` command; raise CalledProcessError if it fails."""
    subprocess.run(self_command(*map(str, words)), check=True)


def experiment(stem: Path, data: Path, *options: str, like: Path | None = None) -> dict[str, Any]:
    """Train and evaluate unless that is done already, and return a row of results.

    Args:
        stem: The path of the experiment's files, without suffix.
        data: The data set.
        options: Further options of `mernet train`.
        like: The stem of an experiment whose features are used again.
    """
    checkpoint, report = stem.with_suffix(".safetensors"), stem.with_suffix(".report")
    seconds = stem.with_suffix(".seconds")
    if not report.is_dir():
        if like is not None:
            shutil.copytree(features(like), features(stem), dirs_exist_ok=True)
        start = time.monotonic()
        mernet("train", "--data", data, "--out", checkpoint, *FEATURES, *options)
        groups = BY_SOL if BY_SOL[0] in options else ()
        mernet("evaluate", checkpoint, "--data", data, *groups)
        seconds.write_text(f"{time.monotonic() - start:.0f}")
    found = json.loads((report / "evaluation.json").read_text())
    row = {
        "experiment": stem.name,
        "options": " ".join(options),
        "seconds": seconds.read_text() if seconds.is_file() else None,
        "images": found["images"],
    }
    for head in ("main", "control"):
        for stage in ("before", "after"):
            row |= figures(f"{head}_{stage}", found[head][stage]["overall"])
    difference = found["comparison"]["mean_average_precision"]["difference"]
    return row | {f"map_difference_{key}": rounded(difference[key]) for key in INTERVAL}


def dependence(stem: Path, data: Path, *options: str, like: Path | None = None) -> dict[str, Any]:
    """Run an experiment on the data set with the dependent class, and add the true chances."""
    return experiment(stem, data, *options, like=like) | against_truth(stem)


def features(stem: Path) -> Path:
    """Return the folder of an experiment's features."""
    return stem.with_suffix(".training") / "features"


def figures(name: str, overall: dict[str, Any]) -> dict[str, float | None]:
    """Return the figures of one head over all classes, before or after calibration."""
    found = {
        "ece": overall["ece"]["bins_15"],
        "ece_floor": overall["ece_floor"]["bins_15"],
        "log_loss": overall["log_loss"],
        "map": overall["average_precision"]["value"],
        "precision": overall["precision"]["value"],
        "recall": overall["recall"]["value"],
        "accuracy": (overall["accuracy"] or {}).get("value"),
    }
    return {f"{name}_{key}": rounded(value) for key, value in found.items()}


def against_truth(stem: Path) -> dict[str, float | None]:
    """Compare probabilities of the dependent class with its true chances, on test images."""
    data = load_data_set(stem.parent / "dependent")
    parts = read_split(stem.with_suffix(".training") / "split.csv", data.names)
    tested = data.subset([place for place, part in enumerate(parts) if part is Part.TEST])
    truth, place = true_chances(tested), data.classes.index(DEPENDENT)
    heads = predict(
        Classifier.load(stem.with_suffix(".safetensors")), map(read_picture, tested.paths)
    )
    found = {"truth_mean": rounded(truth.mean())} | dependent_precision(stem, place)
    for name, head in zip(("main", "control"), heads, strict=True):
        assert head is not None
        probability = head.after[:, place]
        found[f"{name}_mean"] = rounded(probability.mean())
        found[f"{name}_distance"] = rounded(np.abs(probability - truth).mean())
    return found


def dependent_precision(stem: Path, place: int) -> dict[str, float | None]:
    """Return the dependent class's average precision by head and control, and their difference."""
    report = json.loads((stem.with_suffix(".report") / "evaluation.json").read_text())
    found = report["comparison"]["average_precision"][place]
    return {
        "dependent_main_ap": rounded(found["main"]["value"]),
        "dependent_control_ap": rounded(found["control"]["value"]),
        **{f"dependent_difference_{key}": rounded(found["difference"][key]) for key in INTERVAL},
    }


def true_chances(data: DataSet) -> np.ndarray:
    """Return the true probability of the dependent class for each image."""
    with (data.paths[0].parents[1] / TRUTH).open(newline="") as file:
        truth = {row["file"]: float(row[DEPENDENT]) for row in csv.DictReader(file)}
    return np.array([truth[name] for name in data.names])


def rounded(value: float | None) -> float | None:
    """Round to four digits: the data sets are too small for more."""
    return None if value is None else round(float(value), 4)


if __name__ == "__main__":
    main()
