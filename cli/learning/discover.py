"""`mernet discover`: the most novel images of a folder, ranked on a page to look at."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress, track

from mernet.cli.learning.backbones import (
    IMAGENET,
    Architecture,
    BackboneName,
    Weights,
    chosen_backbone,
)
from mernet.cli.shared.output import err, note
from mernet.cli.shared.pictures import pictures_in, read_any
from mernet.model.errors import DataSetError
from mernet.pds.errors import PdsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mernet.model.training.data.picture_files import Picture
    from mernet.model.training.discovery.demud import NoveltyRanking
    from mernet.model.training.discovery.gallery import RankedPicture

    Features = NDArray[np.float32]
    Extract = Callable[[Sequence[Picture]], Features]

READ_AT_ONCE = 32
NETWORK_SIDE, PIXELS_SIDE = 224, 64
"""Sides that images are resized to: what ImageNet weights have seen, and what shows a rock."""
SMALLEST = 8
"""Shorter sides show nothing."""
RANDOM_SEED = 0


class By(StrEnum):
    """What images are compared by."""

    FEATURES = "features"
    PIXELS = "pixels"


Images = Annotated[
    Path,
    typer.Argument(
        exists=True,
        file_okay=False,
        help="Folder of JPEG, PNG or TIFF pictures or PDS products, subfolders included.",
    ),
]
Seen = Annotated[
    Path | None,
    typer.Option(exists=True, file_okay=False, help="Folder of images that are known already."),
]
Components = Annotated[
    int, typer.Option(help="Singular vectors that stand for what is known.", min=1)
]
Labels = Annotated[
    Path | None,
    typer.Option(exists=True, help="Labelled data set or label file, to show known classes."),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(help="Take the network of this checkpoint, not --backbone and --weights."),
]
Size = Annotated[
    int | None,
    typer.Option(
        help="Side in pixels that images are resized to; by default the checkpoint's, else "
        f"{NETWORK_SIDE} for features and {PIXELS_SIDE} for pixels.",
        min=32,
        max=512,
    ),
]


def discover(
    images: Images,
    page: Annotated[Path, typer.Option("--out", help="Page to write.")] = Path("discovered.html"),
    by: Annotated[By, typer.Option(help="What a network sees, or grey levels.")] = By.FEATURES,
    count: Annotated[int, typer.Option(help="How many images to rank.", min=1)] = 100,
    components: Components = 50,
    seen: Seen = None,
    labels: Labels = None,
    checkpoint: Checkpoint = None,
    backbone: BackboneName = Architecture.VGG16,
    weights: Weights = IMAGENET,
    size: Size = None,
    table: Annotated[
        Path | None, typer.Option("--csv", help="Also write ranks, files and scores as CSV.")
    ] = None,
) -> None:
    """Rank the images that differ most from all known ones, the most novel first (DEMUD).

    An image counts as known once it is ranked, so that the next one shows something else. A file
    that cannot be read is named with its reason, the others go on.
    """
    from mernet.model.training.discovery.gallery import write_gallery

    classes = _classes(labels) if labels else {}
    extract, compared = _extractor(by, size, checkpoint, backbone, weights)
    paths, features = _read(images, extract)
    known = _read(seen, extract)[1] if seen else None
    ranking = _rank(features, known, components, count)
    ranked = _ranked(ranking, paths, classes, by)
    facts = {
        "Images": f"{len(paths)} in {images}",
        "Known before": f"{len(known)} in {seen}" if known is not None else "none",
        "Compared by": compared,
        "Singular vectors": str(components),
    }
    write_gallery(page, ranked, f"The {len(ranked)} most novel of {len(paths)} images", facts)
    if table:
        _write_table(table, ranked)
    note(f"The page is {page}; open it in a browser.")


def _classes(path: Path) -> dict[str, tuple[str, ...]]:
    """The classes of each image of a labelled data set, by file name."""
    from mernet.model.training.data.loading import load_data_set

    data = load_data_set(path)
    return {
        name: tuple(data.class_names[place] for place in row.nonzero()[0])
        for name, row in zip(data.names, data.labels, strict=True)
    }


def _extractor(
    by: By, size: int | None, checkpoint: Path | None, backbone: str, weights: str
) -> "tuple[Extract, str]":
    """What makes features of pictures, and how it is called on the page."""
    if by is By.PIXELS:
        from mernet.model.training.discovery.pixel_features import pixel_features

        side = size or PIXELS_SIDE
        return partial(pixel_features, size=side), f"grey levels, {side}x{side}"
    if checkpoint:
        return _of_checkpoint(checkpoint, size)
    from mernet.model.backbone import check_input_size, extract_features
    from mernet.model.classifier import select_device

    network, side = chosen_backbone(backbone, weights, RANDOM_SEED), size or NETWORK_SIDE
    check_input_size(network.name, side)
    network.network.to(select_device(None))
    called = f"features of {network.name}, {weights} weights, {side}x{side}"
    return partial(extract_features, network, size=side), called


def _of_checkpoint(path: Path, size: int | None) -> "tuple[Extract, str]":
    from mernet.model.classifier import Classifier

    classifier = Classifier.load(path)
    header = classifier.header
    if size not in (None, header.input_size):
        raise typer.BadParameter(f"{path} takes {header.input_size} pixels; leave --size out.")
    side = header.input_size
    return classifier.features, f"features of {header.backbone} in {path}, {side}x{side}"


def _read(folder: Path, extract: "Extract") -> "tuple[list[Path], Features]":
    """The images of a folder that can be read, and their features (N, F)."""
    import numpy as np

    files = pictures_in(folder)
    starts = range(0, len(files), READ_AT_ONCE)
    paths: list[Path] = []
    parts: list[Features] = []
    for start in track(
        starts, f"Reading {folder}", console=err, transient=True, disable=not err.is_terminal
    ):
        pictures = _readable(files[start : start + READ_AT_ONCE])
        if pictures:
            paths += pictures
            parts.append(extract(list(pictures.values())))
    if not paths:
        raise DataSetError(
            f"{folder} holds no picture or product that can be read; give another folder"
        )
    if len(paths) < len(files):
        note(f"{len(files) - len(paths)} of {len(files)} files in {folder} were left out.")
    return paths, np.concatenate(parts)


def _readable(files: Sequence[Path]) -> "dict[Path, Picture]":
    """The pictures that can be read; the others are named."""
    pictures = {}
    for file in files:
        try:
            picture = read_any(file)
            if min(picture.shape) < SMALLEST:
                raise DataSetError(f"{file}: is smaller than {SMALLEST} pixels")
            pictures[file] = picture
        except (DataSetError, PdsError) as error:
            note(f"Left out: {error}")
    return pictures


def _rank(
    features: "Features", known: "Features | None", components: int, count: int
) -> "NoveltyRanking":
    from mernet.model.training.discovery.demud import rank_by_novelty

    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("Ranking", total=None)
        return rank_by_novelty(
            features,
            known,
            components,
            count,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def _ranked(
    ranking: "NoveltyRanking", paths: Sequence[Path], classes: Mapping[str, tuple[str, ...]], by: By
) -> "list[RankedPicture]":
    """The ranked pictures, read again, since not all fit into memory at once."""
    from mernet.model.training.discovery.gallery import RankedPicture
    from mernet.model.training.discovery.pixel_features import residual_picture

    rows = zip(ranking.order.tolist(), ranking.scores.tolist(), ranking.residuals, strict=True)
    return [
        RankedPicture(
            path=paths[index],
            score=score,
            picture=read_any(paths[index]),
            labels=classes.get(paths[index].name, ()),
            residual=residual_picture(residual) if by is By.PIXELS else None,
        )
        for index, score, residual in rows
    ]


def _write_table(path: Path, ranked: "Sequence[RankedPicture]") -> None:
    from mernet.model.training.text_files import write_csv

    rows = (
        (rank, each.path, f"{each.score:.6g}", "; ".join(each.labels))
        for rank, each in enumerate(ranked, start=1)
    )
    write_csv(path, ("rank", "file", "score", "labels"), rows)
