"""Learning judged on data whose truth is known, and on real pictures: six experiments.

`python bench/learning.py FOLDER [MSL]` from the project's folder draws two data sets of 4,000
scenes into FOLDER, learns heads on frozen, random VGG-16 features at 128 x 128 and judges them with
the `mernet` command, and writes bench/results/learning.csv; about 30 minutes on 2 cores. MSL is the
folder of labelled pictures of Curiosity (../shared/real/msl), left out where it is not given. What
lies in FOLDER is not made again. `seconds` are those of training and judging; `best` and `soft`
take the features that `paper` and `msl` have computed. Seconds mean little where other
work runs, and are missing for what was not run by this script.

`dependent` has a class that no picture shows: 0.95 of the images with outcrop have it, 0.03 of the
others. Its columns tell how the heads' calibrated probabilities compare with those.
"""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from mernet.demo.data_set import DEPENDENT, TRUTH
from mernet.model.classifier import Classifier
from mernet.model.training.data.data_set import DataSet, Part
from mernet.model.training.data.loading import load_data_set
from mernet.model.training.data.picture_files import read_picture
from mernet.model.training.data.split import read_split
from mernet.model.training.evaluation.predictions import predict
from mernet.self_command import self_command

RESULTS = Path(__file__).parent / "results" / "learning.csv"
IMAGES = 4000
FEATURES = ("--frozen", "--weights", "random", "--seed", "7", "--input-size", "128")
INTERVAL = ("value", "low", "high")
BY_SOL = ("--group-pattern", r"^(\d{4})")


def main(folder: Path, msl: Path | None) -> None:
    """Run what is missing and write the results."""
    scenes, dependent = folder / "scenes", folder / "dependent"
    mernet("data", "draw", "--out", scenes, "--images", IMAGES)
    mernet("data", "draw", "--out", dependent, "--images", IMAGES, "--seed", 5, "--dependent")
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
    with RESULTS.open("w", newline="") as file:
        table = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        table.writeheader()
        table.writerows(rows)


def mernet(*words: object) -> None:
    """Run a command, and stop where it fails."""
    subprocess.run(self_command(*map(str, words)), check=True)


def experiment(stem: Path, data: Path, *options: str, like: Path | None = None) -> dict[str, Any]:
    """Train and evaluate where that is not done yet, with the features of another experiment.

    Returns the report's figures.
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
        "cores": os.cpu_count(),
        "seconds": seconds.read_text() if seconds.is_file() else None,
        "images": found["images"],
    }
    for head in ("main", "control"):
        for stage in ("before", "after"):
            row |= figures(f"{head}_{stage}", found[head][stage]["overall"])
    difference = found["comparison"]["mean_average_precision"]["difference"]
    return row | {f"map_difference_{key}": rounded(difference[key]) for key in INTERVAL}


def dependence(stem: Path, data: Path, *options: str, like: Path | None = None) -> dict[str, Any]:
    """An experiment on the dependent class, with what is known of its truth."""
    return experiment(stem, data, *options, like=like) | against_truth(stem)


def features(stem: Path) -> Path:
    """Where an experiment keeps its features."""
    return stem.with_suffix(".training") / "features"


def figures(name: str, overall: dict[str, Any]) -> dict[str, float | None]:
    """The figures of one head at one stage over all classes."""
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


def against_truth(stem: Path) -> dict[str, float]:
    """Of the dependent class, on test images: mean probability, and mean distance to the truth."""
    data = load_data_set(stem.parent / "dependent")
    parts = read_split(stem.with_suffix(".training") / "split.csv", data.names)
    tested = data.subset([place for place, part in enumerate(parts) if part is Part.TEST])
    truth, place = chances(tested), data.classes.index(DEPENDENT)
    heads = predict(
        Classifier.load(stem.with_suffix(".safetensors")), map(read_picture, tested.paths)
    )
    found = {"truth_mean": rounded(truth.mean())} | dependent_precision(stem, place)
    for name, head in zip(("main", "control"), heads, strict=True):
        probability = head.after[:, place]
        found[f"{name}_mean"] = rounded(probability.mean())
        found[f"{name}_distance"] = rounded(np.abs(probability - truth).mean())
    return found


def dependent_precision(stem: Path, place: int) -> dict[str, float]:
    """Average precision of the dependent class: head, control, and the difference's interval."""
    report = json.loads((stem.with_suffix(".report") / "evaluation.json").read_text())
    found = report["comparison"]["average_precision"][place]
    return {
        "dependent_main_ap": rounded(found["main"]["value"]),
        "dependent_control_ap": rounded(found["control"]["value"]),
        **{f"dependent_difference_{key}": rounded(found["difference"][key]) for key in INTERVAL},
    }


def chances(data: DataSet) -> np.ndarray:
    """The true probability of the dependent class for each image."""
    with (data.paths[0].parents[1] / TRUTH).open(newline="") as file:
        truth = {row["file"]: float(row[DEPENDENT]) for row in csv.DictReader(file)}
    return np.array([truth[name] for name in data.names])


def rounded(value: float | None) -> float | None:
    """Four digits are more than these sets can tell."""
    return None if value is None else round(float(value), 4)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
