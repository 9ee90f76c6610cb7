"""`mernet data describe` and `mernet data split`: labelled data sets."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from mernet.cli.learning.image_groups import find_groups
from mernet.cli.learning.options import ClassNumbers, GroupPattern, Seed
from mernet.cli.shared.output import AsJson, note, print_json, print_table, say
from mernet.model.training.data.data_set import Part
from mernet.model.training.data.description import (
    Description,
    LabelCount,
    class_counts,
    describe_data_set,
)
from mernet.model.training.data.loading import load_data_set
from mernet.model.training.data.split import complete_split, read_split, split, write_split
from mernet.printable import quoted

Folder = Annotated[
    Path, typer.Argument(help="Folder of a labelled data set, or label file.", metavar="DATA")
]


def describe(
    data: Folder,
    split: Annotated[
        Path | None, typer.Option(help="Split file; by default the data set's own parts are used.")
    ] = None,
    co_occurrence: Annotated[
        bool,
        typer.Option("--co-occurrence", help="Also show how many images have both of two classes."),
    ] = False,
    class_order: ClassNumbers = None,
    as_json: AsJson = False,
) -> None:
    """Count images by class and part, labels per image and duplicates; print the digest.

    The digest identifies the data set: it depends on all pictures and labels, and every checkpoint
    stores the digest of the data set that it was trained on.
    """
    loaded = load_data_set(data, class_order)
    parts = read_split(split, loaded.names) if split else loaded.parts
    description = describe_data_set(loaded, parts)
    if as_json:
        print_json(_description_as_dict(description))
        return
    _print_description(description)
    if co_occurrence:
        codes = [each.code for each in description.classes]
        rows = zip(codes, description.co_occurrence.tolist(), strict=True)
        print_table(("", *codes), [(code, *counts) for code, counts in rows])


def split_data(
    data: Folder,
    file: Annotated[Path, typer.Option("--out", help="Split file (CSV) to write.")],
    seed: Seed = 0,
    shares: Annotated[
        str, typer.Option(help="Shares of train, validation and test.")
    ] = "0.6,0.15,0.25",
    group_pattern: GroupPattern = None,
    keep_parts: Annotated[
        bool,
        typer.Option(
            "--keep-parts", help="Keep the data set's own parts and create only a missing one."
        ),
    ] = False,
    class_order: ClassNumbers = None,
) -> None:
    """Split a data set into train, validation and test, each with its share of every class.

    Images of one rover, site and sequence stay in one part if their file names are product names.
    """
    loaded = load_data_set(data, class_order)
    groups = find_groups(loaded.names, group_pattern)
    wanted = _parse_shares(shares)
    if keep_parts:
        parts = complete_split(loaded, groups, seed, wanted)
    else:
        parts = split(loaded.labels, groups, wanted, seed)
    write_split(file, loaded.names, parts)
    _print_classes(class_counts(loaded, parts))
    counts = Counter(parts)
    note(f"{_format_parts({part: counts[part] for part in Part})}. The split is in {file}.")


def _parse_shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(share) for share in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(
            f"{quoted(text)} is not a list of shares such as 0.6,0.15,0.25"
        ) from error


def _print_description(description: Description) -> None:
    _print_classes(description.classes)
    mean, least, most = description.labels_per_image
    has_parts = any(description.by_part.values())
    parts = _format_parts(description.by_part) if has_parts else "no parts"
    say(f"{description.images} images ({parts}), {mean:.2f} labels per image ({least} to {most})")
    say(
        f"{description.duplicates} duplicates, {description.straddling} images with a duplicate in "
        "another part"
    )
    say(f"digest {description.digest}")


def _print_classes(classes: Sequence[LabelCount]) -> None:
    rows = [
        (each.code, each.name, each.count, f"{each.share:.2%}", each.group, *each.by_part.values())
        for each in classes
    ]
    print_table(("class", "name", "images", "share", "group", *classes[0].by_part), rows)
    for each in classes:
        if sum(each.by_part.values()) > 0 and not all(each.by_part.values()):
            missing = " or ".join(part for part, count in each.by_part.items() if not count)
            note(f"{each.code}: no image in {missing}.")


def _format_parts(by_part: Mapping[Part, int]) -> str:
    return ", ".join(f"{count} {part}" for part, count in by_part.items())


def _description_as_dict(description: Description) -> dict[str, Any]:
    mean, least, most = description.labels_per_image
    return {
        **asdict(description),
        "labels_per_image": {"mean": mean, "least": least, "most": most},
        "co_occurrence": description.co_occurrence.tolist(),
    }
