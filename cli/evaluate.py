"""`mernet evaluate`: a checkpoint judged on labelled images it has not learned from."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.groups import GroupPattern, groups_of
from cli.output import AsJson, note, out, print_table
from cli.stages import Stages
from cli.train import SPLIT_FILE, Data, Device, SplitFile, training_folder

if TYPE_CHECKING:
    from model.classifier import Classifier
    from model.training.data_set import DataSet
    from model.training.evaluation import Evaluation


class JudgedPart(StrEnum):
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
        JudgedPart | None,
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
    from model.training.summary import headlines, summary_rows

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
    part: JudgedPart | None,
    group_pattern: str | None,
    seed: int,
    device: str | None,
) -> "Evaluation":
    """Judge a checkpoint and write the report into `folder`."""
    from model.classifier import Classifier
    from model.training.label_files import load_data_set
    from model.training.page import write_report

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
    part: JudgedPart | None,
) -> "tuple[DataSet, str]":
    """The images to judge by, and what they are called."""
    from model.training.split import read_split

    if data.classes != classifier.header.classes:
        raise typer.BadParameter(
            f"The checkpoint knows {len(classifier.header.classes)} classes, the data set has "
            f"{len(data.classes)} or others; give the data set it was made for."
        )
    seen = digest == classifier.header.data_set_hash
    kept = training_folder(checkpoint) / SPLIT_FILE
    wanted = part or (JudgedPart.TEST if seen or split else JudgedPart.ALL)
    if wanted is JudgedPart.ALL:
        return data, "all images" + (", those it learned from too" if seen else "")
    if split is None and seen and not kept.is_file():
        raise typer.BadParameter(
            f"The checkpoint learned from part of these images and {kept} is missing: give "
            "--split FILE, or --part all."
        )
    file = split or (kept if seen else None)
    parts: Sequence[str | None] = read_split(file, data.names) if file else data.parts
    members = [place for place, its in enumerate(parts) if its == wanted]
    if not members:
        raise typer.BadParameter(f"No image is in the part {wanted}; give another --part.")
    return data.subset(members), f"part {wanted}"


def _evaluation(
    classifier: "Classifier", data: "DataSet", groups: list[str], seed: int
) -> "Evaluation":
    from model.training.data_set import read_picture
    from model.training.evaluation import evaluate as judge_predictions
    from model.training.predict import predict

    with Stages() as stages:
        main, control = predict(
            classifier,
            map(read_picture, data.paths),
            lambda done: stages.report("Classifying", done, len(data), ""),
        )
        stages.report("Judging", 0, 1, "")
        return judge_predictions(
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
