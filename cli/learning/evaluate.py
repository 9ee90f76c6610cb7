"""`mernet evaluate`: a checkpoint judged on labelled images it has not learned from."""

from collections.abc import Sequence
from enum import StrEnum
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mernet.cli.learning.groups import GroupPattern, groups_of
from mernet.cli.learning.stage_progress import Stages
from mernet.cli.learning.train import SPLIT_FILE, Data, Device, SplitFile, training_folder
from mernet.cli.shared.output import AsJson, note, out, print_table

if TYPE_CHECKING:
    from mernet.model.checkpoint import Header
    from mernet.model.classifier import Classifier
    from mernet.model.training.data.data_set import DataSet, Part
    from mernet.model.training.evaluation.evaluate import Evaluation


class EvaluationSplit(StrEnum):
    """Names that `--part` takes."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
    ALL = "all"


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint (.safetensors).")],
    data: Data,
    report: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the report; by default beside the checkpoint."),
    ] = None,
    split: SplitFile = None,
    part: Annotated[
        EvaluationSplit | None,
        typer.Option(help="Part to judge by: test; of a set the checkpoint did not see, all."),
    ] = None,
    group_pattern: GroupPattern = None,
    seed: Annotated[int, typer.Option(help="Seed of the intervals.", min=0)] = 0,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Judge a checkpoint: calibration, precision and recall, chain against control, by class.

    Writes evaluation.html to look at, evaluation.json and evaluation.csv. Without --split, the
    split that `mernet train` left beside the checkpoint says which images it has not seen.
    """
    from mernet.model.training.evaluation.summary import headlines, summary_rows

    folder = report or checkpoint.with_suffix(".report")
    found = judge(checkpoint, data, folder, split, part, group_pattern, seed, device)
    if as_json:
        typer.echo((folder / "evaluation.json").read_text())
        return
    print_table(*summary_rows(found))
    for sentence in headlines(found):
        out.print(f"- {sentence}", markup=False, soft_wrap=True)


def judge(
    checkpoint: Path,
    data: Path,
    folder: Path,
    split: Path | None,
    part: EvaluationSplit | None,
    group_pattern: str | None,
    seed: int,
    device: str | None,
) -> "Evaluation":
    """Judge a checkpoint and write the report into `folder`."""
    from mernet.model.classifier import Classifier
    from mernet.model.training.data.loading import load_data_set
    from mernet.model.training.evaluation.report import write_report

    classifier = Classifier.load(checkpoint, device=device)
    loaded = load_data_set(data)
    digest = loaded.digest()
    judged, named = _judged(loaded, digest, classifier, checkpoint, split, part)
    groups = groups_of(judged.names, group_pattern)
    found = _evaluation(classifier, judged, groups, seed)
    page = write_report(folder, found, _provenance(classifier, judged, digest, named))
    note(f"The report is {page}; open it in a browser.")
    return found


def _judged(
    data: "DataSet",
    digest: str,
    classifier: "Classifier",
    checkpoint: Path,
    split: Path | None,
    part: EvaluationSplit | None,
) -> "tuple[DataSet, str]":
    """The images to judge by, and what they are called."""
    header = classifier.header
    if data.classes != header.classes:
        pairs = zip_longest(header.classes, data.classes)
        theirs, ours = next(pair for pair in pairs if pair[0] != pair[1])
        raise typer.BadParameter(
            f"The checkpoint's classes are not the data set's: {theirs or 'none'} there, "
            f"{ours or 'none'} here; give the data set it was made for."
        )
    seen = digest == header.data_set_hash
    if part is EvaluationSplit.ALL:
        return data, "all images" + (", those it learned from too" if seen else "")
    kept = training_folder(checkpoint) / SPLIT_FILE
    if split or seen:
        parts = _parts_it_learned_by(data, header, split or kept, seen)
        return _in_part(data, parts, part or EvaluationSplit.TEST)
    if part is not None:
        return _in_part(data, data.parts, part)
    return _not_learned_from(data, kept)


def _parts_it_learned_by(
    data: "DataSet", header: "Header", file: Path, seen: bool
) -> "tuple[Part, ...]":
    from mernet.model.training.data.split import read_split, split_digest

    if not file.is_file():
        raise typer.BadParameter(
            f"The checkpoint learned from part of these images and {file} is missing: give "
            "--split FILE, or --part all."
        )
    parts = read_split(file, data.names)
    if seen and split_digest(data.names, parts) != header.training.get("split"):
        raise typer.BadParameter(
            f"{file} is not the split that the checkpoint learned by: by this one it would be "
            "judged on images it has seen; give the right --split FILE, or --part all."
        )
    return parts


def _in_part(
    data: "DataSet", parts: "Sequence[Part | None]", part: EvaluationSplit
) -> "tuple[DataSet, str]":
    members = [place for place, its in enumerate(parts) if its and its.value == part.value]
    if not members:
        raise typer.BadParameter(f"No image is in the part {part}; give another --part.")
    return data.subset(members), f"part {part}"


def _not_learned_from(data: "DataSet", kept: Path) -> "tuple[DataSet, str]":
    """All images of another data set but those that the checkpoint knows by their names."""
    from mernet.model.training.data.data_set import Part
    from mernet.model.training.data.split import read_parts

    known = read_parts(kept) if kept.is_file() else {}
    members = [
        place for place, name in enumerate(data.names) if known.get(name, Part.TEST) is Part.TEST
    ]
    left_out = len(data) - len(members)
    if left_out:
        note(f"{left_out} images that the checkpoint learned from are left out.")
    if not members:
        raise typer.BadParameter("The checkpoint learned from all of these images; give others.")
    return data.subset(members), "all images it did not learn from"


def _evaluation(
    classifier: "Classifier", data: "DataSet", groups: list[str], seed: int
) -> "Evaluation":
    from mernet.model.training.data.picture_files import read_picture
    from mernet.model.training.evaluation.evaluate import evaluate_predictions
    from mernet.model.training.evaluation.predictions import predict

    with Stages() as stages:
        main, control = predict(
            classifier,
            map(read_picture, data.paths),
            lambda done: stages.report("Classifying", done, len(data), ""),
        )
        stages.report("Judging", 0, 1, "")
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
    classifier: "Classifier", data: "DataSet", digest: str, named: str
) -> dict[str, str]:
    import torch

    header = classifier.header
    learned = "the same" if digest == header.data_set_hash else header.data_set_hash
    return {
        "checkpoint": header.name,
        "sha256": classifier.sha256,
        "backbone": f"{header.backbone}, {header.input_size}x{header.input_size} pixels",
        "judged by": f"{len(data)} images, {named}",
        "data set": digest,
        "learned from": learned,
        "torch": torch.__version__,
    }
