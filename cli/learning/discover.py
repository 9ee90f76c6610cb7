"""`mernet discover`: ranks the images of a folder by novelty, as a page for a browser."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import Progress, track

from mernet.cli.learning.backbones import IMAGENET, BackboneName, Weights, load_backbone
from mernet.cli.learning.options import ClassNumbers
from mernet.cli.shared.output import err, note
from mernet.model.architecture_name import ArchitectureName
from mernet.model.errors import DataSetError, PictureError
from mernet.model.pictures import Picture
from mernet.model.training.data.loading import ClassOrder, load_data_set
from mernet.model.training.discovery.demud import COMPONENTS, NoveltyRanking, rank_by_novelty
from mernet.model.training.discovery.gallery import RankedPicture, write_gallery
from mernet.model.training.discovery.pixel_features import pixel_features, residual_picture
from mernet.model.training.text_files import write_csv
from mernet.pds.errors import PdsError
from mernet.worker.image_files import find_image_files, read_image_file

Features = NDArray[np.float32]
FeatureExtractor = Callable[[Sequence[Picture]], Features]
"""Computes the features (N, F) of N pictures."""

READ_AT_ONCE = 32
NETWORK_SIZE, PIXELS_SIZE = 224, 64
"""Default sizes that images are resized to: that of ImageNet weights, and one that shows a rock."""
SMALLEST_SIDE = 8
"""Pictures with a shorter side, in pixels, show nothing."""
RANDOM_SEED = 0


class ImageFeatures(StrEnum):
    """What images are compared by: the features of a network, or their pixels."""

    FEATURES = "features"
    PIXELS = "pixels"


ImageFolder = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER",
        exists=True,
        file_okay=False,
        help="Folder of JPEG, PNG or TIFF pictures or PDS products, subfolders included.",
    ),
]
CompareBy = Annotated[
    ImageFeatures, typer.Option(help="Compare images by features of a network, or by their pixels.")
]
Seen = Annotated[
    Path | None,
    typer.Option(exists=True, file_okay=False, help="Folder of images that are known already."),
]
Components = Annotated[
    int, typer.Option(help="Number of singular vectors that model the known images.", min=1)
]
ShownLabels = Annotated[
    Path | None,
    typer.Option(
        exists=True, help="Labelled data set or label file; its classes are shown on the page."
    ),
]
CheckpointFile = Annotated[
    Path | None,
    typer.Option(help="Use the network of this checkpoint instead of --backbone and --weights."),
]
ResizedTo = Annotated[
    int | None,
    typer.Option(
        help="Width and height in pixels that images are resized to; by default the checkpoint's, "
        f"else {NETWORK_SIZE} for features and {PIXELS_SIZE} for pixels.",
        min=32,
        max=512,
    ),
]


def discover(
    folder: ImageFolder,
    page: Annotated[Path, typer.Option("--out", help="HTML page to write.")] = Path(
        "discovered.html"
    ),
    by: CompareBy = ImageFeatures.FEATURES,
    count: Annotated[int, typer.Option(help="Number of images to rank.", min=1)] = 100,
    components: Components = COMPONENTS,
    seen: Seen = None,
    labels: ShownLabels = None,
    checkpoint: CheckpointFile = None,
    backbone: BackboneName = ArchitectureName.VGG16,
    weights: Weights = IMAGENET,
    input_size: ResizedTo = None,
    table: Annotated[
        Path | None, typer.Option("--csv", help="Also write ranks, files and scores as CSV.")
    ] = None,
    class_order: ClassNumbers = None,
) -> None:
    """Rank the images that differ most from all known ones, the most novel first (DEMUD).

    A ranked image counts as known, so that the next one shows something else. Files that cannot be
    read are reported with the reason and left out.
    """
    classes = _read_class_names(labels, class_order) if labels else {}
    extract, description = _choose_extractor(by, input_size, checkpoint, backbone, weights)
    paths, features = _read_features(folder, extract)
    known = _read_features(seen, extract)[1] if seen else None
    ranking = _rank_with_progress(features, known, components, count)
    ranked = _load_ranked_pictures(ranking, paths, classes, by)
    facts = {
        "Images": f"{len(paths)} in {folder}",
        "Known before": f"{len(known)} in {seen}" if known is not None else "none",
        "Compared by": description,
        "Singular vectors": str(components),
    }
    write_gallery(page, ranked, f"The {len(ranked)} most novel of {len(paths)} images", facts)
    if table:
        _write_table(table, ranked)
    note(f"The page is {page}; open it in a browser.")


def _read_class_names(path: Path, class_order: ClassOrder | None) -> dict[str, tuple[str, ...]]:
    """Return the names of the classes of each image of a labelled data set, by file name."""
    data = load_data_set(path, class_order)
    return {
        name: tuple(data.class_names[index] for index in row.nonzero()[0])
        for name, row in zip(data.names, data.labels, strict=True)
    }


def _choose_extractor(
    by: ImageFeatures,
    size: int | None,
    checkpoint: Path | None,
    backbone: ArchitectureName,
    weights: str,
) -> tuple[FeatureExtractor, str]:
    """Return the feature extractor, and its description for the page."""
    # Here, as in the next function, because torch takes a second to import; --help needs none.
    from mernet.model.backbone import check_input_size, extract_features
    from mernet.model.classifier import select_device

    if by is ImageFeatures.PIXELS:
        size = size or PIXELS_SIZE
        return partial(pixel_features, size=size), f"grey levels, {size}x{size}"
    if checkpoint:
        return _checkpoint_extractor(checkpoint, size)
    network, size = load_backbone(backbone, weights, RANDOM_SEED), size or NETWORK_SIZE
    check_input_size(network.name, size)
    network.network.to(select_device(None))
    description = f"features of {network.name}, {weights} weights, {size}x{size}"
    return partial(extract_features, network, size=size), description


def _checkpoint_extractor(path: Path, size: int | None) -> tuple[FeatureExtractor, str]:
    from mernet.model.classifier import Classifier

    classifier = Classifier.load(path)
    header = classifier.header
    if size not in (None, header.input_size):
        raise typer.BadParameter(
            f"{path} needs an input size of {header.input_size}; omit --input-size."
        )
    size = header.input_size
    return classifier.features, f"features of {header.backbone} in {path}, {size}x{size}"


def _read_features(folder: Path, extract: FeatureExtractor) -> tuple[list[Path], Features]:
    """Return the images of a folder that can be read, and their features (N, F).

    Raises:
        DataSetError: No image can be read.
    """
    files = find_image_files(folder)
    starts = range(0, len(files), READ_AT_ONCE)
    paths: list[Path] = []
    parts: list[Features] = []
    for start in track(
        starts, f"Reading {folder}", console=err, transient=True, disable=not err.is_terminal
    ):
        pictures = _read_pictures(files[start : start + READ_AT_ONCE])
        if pictures:
            paths += pictures
            parts.append(extract(list(pictures.values())))
    if not paths:
        raise DataSetError(f"{folder} contains no readable picture or product; give another folder")
    if len(paths) < len(files):
        note(f"{len(files) - len(paths)} of {len(files)} files in {folder} were left out.")
    return paths, np.concatenate(parts)


def _read_pictures(files: Sequence[Path]) -> dict[Path, Picture]:
    """Read pictures; those that cannot be read are reported and left out."""
    pictures = {}
    for file in files:
        try:
            picture = read_image_file(file)
            if min(picture.shape) < SMALLEST_SIDE:
                raise PictureError(f"{file}: is smaller than {SMALLEST_SIDE} pixels")
            pictures[file] = picture
        except (PictureError, PdsError) as error:
            note(f"Left out: {error}")
    return pictures


def _rank_with_progress(
    features: Features, known: Features | None, components: int, count: int
) -> NoveltyRanking:
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("Ranking", total=None)
        return rank_by_novelty(
            features,
            known,
            components,
            count,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def _load_ranked_pictures(
    ranking: NoveltyRanking,
    paths: Sequence[Path],
    classes: Mapping[str, tuple[str, ...]],
    by: ImageFeatures,
) -> list[RankedPicture]:
    """Read the ranked pictures again, since not all pictures fit in memory at once."""
    rows = zip(ranking.order.tolist(), ranking.scores.tolist(), ranking.residuals, strict=True)
    return [
        RankedPicture(
            path=paths[index],
            score=score,
            picture=read_image_file(paths[index]),
            labels=classes.get(paths[index].name, ()),
            residual=residual_picture(residual) if by is ImageFeatures.PIXELS else None,
        )
        for index, score, residual in rows
    ]


def _write_table(path: Path, ranked: Sequence[RankedPicture]) -> None:
    rows = (
        (rank, each.path, f"{each.score:.6g}", "; ".join(each.labels))
        for rank, each in enumerate(ranked, start=1)
    )
    write_csv(path, ("rank", "file", "score", "labels"), rows)
