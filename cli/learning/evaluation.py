"""Evaluate a checkpoint for `mernet evaluate` and `mernet reproduce`: the images, the report."""

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import torch
import typer

from mernet.cli.learning.evaluation_split import EvaluationSplit
from mernet.cli.learning.image_groups import groups_of
from mernet.cli.learning.stage_progress import StageProgress
from mernet.cli.learning.train import SPLIT_FILE, training_folder
from mernet.cli.shared.output import note
from mernet.model.checkpoint import Header
from mernet.model.classifier import Classifier
from mernet.model.pictures import read_picture
from mernet.model.training.data.data_set import DataSet, Part
from mernet.model.training.data.loading import ClassOrder, load_data_set
from mernet.model.training.data.split import read_parts, read_split, split_digest
from mernet.model.training.evaluation.evaluate import Evaluation, evaluate_predictions
from mernet.model.training.evaluation.predictions import predict
from mernet.model.training.evaluation.report import write_report


def evaluate_checkpoint(
    checkpoint: Path,
    data: Path,
    folder: Path,
    split: Path | None,
    part: EvaluationSplit | None,
    group_pattern: str | None,
    seed: int,
    device: str | None,
    class_order: ClassOrder | None = None,
) -> Evaluation:
    """Evaluate a checkpoint and write the report into `folder`."""
    classifier = Classifier.load(checkpoint, device=device)
    loaded = load_data_set(data, class_order)
    digest = loaded.digest()
    images, description = _select_images(loaded, digest, classifier, checkpoint, split, part)
    groups = groups_of(images.names, group_pattern)
    evaluation = _evaluate_images(classifier, images, groups, seed)
    page = write_report(folder, evaluation, _provenance(classifier, images, digest, description))
    note(f"The report is {page}; open it in a browser.")
    return evaluation


def _select_images(
    data: DataSet,
    digest: str,
    classifier: Classifier,
    checkpoint: Path,
    split: Path | None,
    part: EvaluationSplit | None,
) -> tuple[DataSet, str]:
    """Return the images to evaluate on, and a description of them for the report."""
    header = classifier.header
    if data.classes != header.classes:
        pairs = zip_longest(header.classes, data.classes)
        expected, actual = next(pair for pair in pairs if pair[0] != pair[1])
        raise typer.BadParameter(
            f"The checkpoint and the data set have different classes: {expected or 'none'} in the "
            f"checkpoint, {actual or 'none'} in the data set; give a data set with the "
            "checkpoint's classes."
        )
    trained_on = digest == header.data_set_hash
    if part is EvaluationSplit.ALL:
        return data, "all images" + (", including those it was trained on" if trained_on else "")
    stored_split = training_folder(checkpoint) / SPLIT_FILE
    if split or trained_on:
        parts = _read_training_split(data, header, split or stored_split, trained_on)
        return _select_part(data, parts, part or EvaluationSplit.TEST)
    if part is not None:
        return _select_part(data, data.parts, part)
    return _without_training_images(data, stored_split)


def _read_training_split(
    data: DataSet, header: Header, file: Path, trained_on: bool
) -> tuple[Part, ...]:
    """Read a split; of the training data, it must be the one that was used for training."""
    if not file.is_file():
        raise typer.BadParameter(
            f"The checkpoint was trained on some of these images, and {file} is missing: give "
            "--split FILE, or --part all."
        )
    parts = read_split(file, data.names)
    if trained_on and split_digest(data.names, parts) != header.training.get("split"):
        raise typer.BadParameter(
            f"{file} is not the split that the checkpoint was trained with: test images may be "
            "training images; give the right --split FILE, or --part all."
        )
    return parts


def _select_part(
    data: DataSet, parts: Sequence[Part | None], wanted: EvaluationSplit
) -> tuple[DataSet, str]:
    members = [index for index, part in enumerate(parts) if part and part.value == wanted.value]
    if not members:
        raise typer.BadParameter(f"No image is in the part {wanted}; give another --part.")
    return data.subset(members), f"part {wanted}"


def _without_training_images(data: DataSet, stored_split: Path) -> tuple[DataSet, str]:
    """Leave out images with the name of a train or validation image of the checkpoint."""
    known = read_parts(stored_split) if stored_split.is_file() else {}
    members = [
        index for index, name in enumerate(data.names) if known.get(name, Part.TEST) is Part.TEST
    ]
    left_out = len(data) - len(members)
    if left_out:
        note(f"{left_out} images that the checkpoint was trained or calibrated on are left out.")
    if not members:
        raise typer.BadParameter(
            "The checkpoint was trained or calibrated on all of these images; give others."
        )
    return data.subset(members), "all images that it was not trained on"


def _evaluate_images(
    classifier: Classifier, data: DataSet, groups: list[str], seed: int
) -> Evaluation:
    with StageProgress() as stages:
        main, control = predict(
            classifier,
            map(read_picture, data.paths),
            lambda done: stages.report("Classifying", done, len(data), ""),
        )
        stages.report("Evaluating", 0, 1, "")
        return evaluate_predictions(
            data.labels,
            main,
            control,
            data.classes,
            data.class_names,
            threshold=classifier.header.threshold,
            seed=seed,
            groups=groups,
            main_name=str(classifier.header.head),
        )


def _provenance(
    classifier: Classifier, data: DataSet, digest: str, description: str
) -> dict[str, str]:
    header = classifier.header
    same_data = digest == header.data_set_hash
    return {
        "checkpoint": header.name,
        "sha256": classifier.sha256,
        "backbone": f"{header.backbone}, {header.input_size}x{header.input_size} pixels",
        "evaluated on": f"{len(data)} images, {description}",
        "data set": digest,
        "trained on": "the same data set" if same_data else header.data_set_hash,
        "torch": torch.__version__,
    }
