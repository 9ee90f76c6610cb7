"""`mernet data`: labelled data sets described and split, images drawn, volunteers' labels."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mernet.cli.learning.groups import GroupPattern, groups_to_keep
from mernet.cli.shared.output import AsJson, note, out, print_json, print_table

if TYPE_CHECKING:
    from mernet.model.training.data.consensus import Consensus
    from mernet.model.training.data.data_set import Part
    from mernet.model.training.data.description import ClassCount, Description

DISPUTED_SHOWN = 5

Folder = Annotated[Path, typer.Argument(help="Folder of a labelled data set, or a label file.")]
Seed = Annotated[int, typer.Option(help="Seed of all that is random.", min=0)]


def describe(
    data: Folder,
    split: Annotated[
        Path | None, typer.Option(help="Split file; by default the parts the set itself has.")
    ] = None,
    co_occurrence: Annotated[
        bool, typer.Option("--co-occurrence", help="Also show how many images show two classes.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print counts of classes and parts, labels an image, duplicates and the set's digest."""
    from mernet.model.training.data.description import describe_data_set
    from mernet.model.training.data.loading import load_data_set
    from mernet.model.training.data.split import read_split

    loaded = load_data_set(data)
    parts = read_split(split, loaded.names) if split else loaded.parts
    found = describe_data_set(loaded, parts)
    if as_json:
        print_json(_description_as_dict(found))
        return
    _print_description(found)
    if co_occurrence:
        codes = [each.code for each in found.classes]
        rows = zip(codes, found.co_occurrence.tolist(), strict=True)
        print_table(("", *codes), [(code, *counts) for code, counts in rows])


def split_data(
    data: Folder,
    file: Annotated[Path, typer.Option("--out", help="Split file (CSV) to write.")],
    seed: Seed = 0,
    shares: Annotated[
        str, typer.Option(help="Shares of train, validation and test.")
    ] = "0.6,0.15,0.25",
    group_pattern: GroupPattern = None,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Keep the set's own parts and make only a missing one."),
    ] = False,
) -> None:
    """Split a data set in train, validation and test, each with its share of every class.

    Images of one rover, site and sequence stay together where file names are product names.
    """
    from mernet.model.training.data.data_set import Part
    from mernet.model.training.data.description import class_counts
    from mernet.model.training.data.loading import load_data_set
    from mernet.model.training.data.split import complete_split, split, write_split

    loaded = load_data_set(data)
    groups = groups_to_keep(loaded.names, group_pattern)
    wanted = _shares(shares)
    if keep:
        parts = complete_split(loaded, groups, seed, wanted)
    else:
        parts = split(loaded.labels, groups, wanted, seed)
    write_split(file, loaded.names, parts)
    _print_classes(class_counts(loaded, parts))
    counts = Counter(parts)
    note(f"{_in_words({part: counts[part] for part in Part})}. The split is in {file}.")


def consensus(
    export: Annotated[Path, typer.Argument(help="Zooniverse's CSV export of classifications.")],
    file: Annotated[Path, typer.Option("--out", help="Label file (CSV) to write.")],
    task: Annotated[
        str | None, typer.Option(help="Only answers to this task, such as T0; else to all.")
    ] = None,
    workflow: Annotated[
        str | None, typer.Option(help="Only classifications of the workflow with this number.")
    ] = None,
    retirement: Annotated[
        int, typer.Option(help="Volunteers that must have seen an image, else it waits.", min=1)
    ] = 5,
    threshold: Annotated[
        float, typer.Option(help="Share of them that makes a class a label.", min=0, max=1)
    ] = 0.5,
    as_json: AsJson = False,
) -> None:
    """Make labels from what volunteers chose: one vote each for an image, their last.

    The file has a 0 or 1 for each class, the share that chose it, and the number of volunteers.
    Fleiss' kappa tells how far they agree on a class: 1 wholly, 0 as by chance.
    """
    from mernet.model.training.data.consensus import compute_consensus, write_label_file
    from mernet.model.training.data.zooniverse import read_export

    found = compute_consensus(
        read_export(export, task, workflow), retirement=retirement, threshold=threshold
    )
    write_label_file(file, found)
    if as_json:
        print_json(_consensus_as_dict(found))
    else:
        _print_consensus(found)
    note(f"{len(found.images)} labelled images are in {file}; {len(found.waiting)} images wait.")
    if found.unknown:
        choices = ", ".join(f"{choice!r} ({count})" for choice, count in found.unknown.items())
        note(f"Choices that are no class of MERNet's were passed over: {choices}.")


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(share) for share in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no list of shares as in 0.6,0.15,0.25") from error


def _print_description(found: "Description") -> None:
    _print_classes(found.classes)
    mean, least, most = found.labels_an_image
    parts = _in_words(found.by_part) if any(found.by_part.values()) else "in no part"
    out.print(f"{found.images} images ({parts}), labels an image {mean:.2f} ({least} to {most})")
    out.print(f"{found.duplicates} duplicates, {found.straddling} images with one in another part")
    out.print(f"digest {found.digest}", soft_wrap=True)


def _print_classes(classes: Sequence["ClassCount"]) -> None:
    rows = [
        (each.code, each.name, each.count, f"{each.share:.2%}", each.group, *each.by_part.values())
        for each in classes
    ]
    print_table(("class", "name", "images", "share", "group", *classes[0].by_part), rows)
    for each in classes:
        if sum(each.by_part.values()) > 0 and not all(each.by_part.values()):
            none = " or ".join(part for part, count in each.by_part.items() if not count)
            note(f"{each.code}: no image in {none}.")


def _in_words(by_part: Mapping["Part", int]) -> str:
    return ", ".join(f"{count} {part}" for part, count in by_part.items())


def _description_as_dict(found: "Description") -> dict[str, Any]:
    mean, least, most = found.labels_an_image
    return {
        **asdict(found),
        "labels_an_image": {"mean": mean, "least": least, "most": most},
        "co_occurrence": found.co_occurrence.tolist(),
    }


def _consensus_as_dict(found: "Consensus") -> dict[str, Any]:
    return {
        "images": len(found.images),
        "threshold": found.threshold,
        "classes": [
            {"code": code, "images": images, "kappa": kappa}
            for code, images, kappa in _agreement(found)
        ],
        "disputed": dict(found.disputed()),
        "waiting": dict(found.waiting),
        "unknown": dict(found.unknown),
    }


def _print_consensus(found: "Consensus") -> None:
    print_table(("class", "images", "kappa"), _agreement(found))
    print_table(("most disputed image", "labels in dispute"), found.disputed()[:DISPUTED_SHOWN])


def _agreement(found: "Consensus") -> list[tuple[str, int, float | None]]:
    """For each class its images, and Fleiss' kappa where there is one."""
    kappa = [value if isfinite(value) else None for value in found.kappa().tolist()]
    return list(zip(found.classes, found.labels.sum(axis=0).tolist(), kappa, strict=True))
