"""The public Python interface: everything that `import mernet` offers.

A library loads when a function first needs it: torch for a classifier, SQLAlchemy for a search,
NumPy for a product. Therefore the functions of this module import the rooms that do the work.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from mernet.errors import MernetError
from mernet.printable import printable

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import sqlalchemy as sa
    from numpy.typing import NDArray

    from mernet.db.search import Hit
    from mernet.model.classifier import Classifier
    from mernet.pds.image import Frame

    ImageLike = str | os.PathLike[str] | bytes | Frame | NDArray[np.uint8]


class MissingLibraryError(MernetError):
    """A library that is not a dependency of this package is needed and not installed."""


class CheckpointNotNamedError(MernetError):
    """No checkpoint was given, and no setting names one."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The probabilities of one image.

    Attributes:
        probabilities: The calibrated marginal probability of each class, by class code, in chain
            order.
        above_threshold: Those strictly above the checkpoint's threshold, the highest first. These
            are the classes that a run publishes, unless an operator changed a threshold.
    """

    probabilities: dict[str, float] = field(repr=False)
    above_threshold: dict[str, float]


SearchRecord = TypedDict(
    "SearchRecord",
    {
        "product_id": str,
        "class": str,
        "class_name": str,
        "confidence": float,
        "rover": str,
        "sol": int | None,
        "site": int | None,
        "drive": int | None,
        "start_time": datetime | None,
        "local_solar_time": str | None,
        "image_url": str,
        "browse_url": str | None,
        "classifier": str,
        "missing_share": float | None,
    },
)
SearchRecord.__doc__ = "One class of one image: a row of the view `atlas_search`, by column name."


class ProductClassifier:
    """A checkpoint on one device, which classifies archive products, pictures and arrays.

    `load_classifier` creates it. `name`, `classes` (codes in chain order) and `threshold` are the
    checkpoint's; `sha256` is that of its file, by which the database knows the classifier.
    """

    def __init__(self, classifier: "Classifier") -> None:
        self._classifier = classifier
        self.name = classifier.header.name
        self.classes: tuple[str, ...] = classifier.header.classes
        self.threshold = classifier.header.threshold
        self.sha256 = classifier.sha256

    def __repr__(self) -> str:
        """Return the checkpoint's name, number of classes and threshold."""
        return (
            f"<ProductClassifier {self.name!r}: {len(self.classes)} classes, "
            f"threshold {self.threshold:g}>"
        )

    def classify(self, image: "ImageLike") -> Prediction:
        """Return the probabilities of one image.

        Args:
            image: What `render` accepts.

        Raises:
            MernetError: The image cannot be read, or is an array of another kind.
        """
        return next(self.classify_many([image]))

    def classify_many(self, images: "Iterable[ImageLike]") -> Iterator[Prediction]:
        """Yield the probabilities of many images, in their order.

        Images are read and classified in batches that suit the device, so memory does not grow with
        their number.

        Args:
            images: Each what `render` accepts.

        Raises:
            MernetError: An image cannot be read; the images after it are not classified.
                `classify_each` continues after such an image.
        """
        remaining = iter(images)
        while batch := list(islice(remaining, self._classifier.batch_size)):
            yield from self._classify_batch([render(image) for image in batch])

    def classify_each(
        self, images: "Iterable[ImageLike]"
    ) -> "Iterator[tuple[ImageLike, Prediction | MernetError]]":
        """Yield each image, in order, with its probabilities, or with the error if it has none.

        Args:
            images: Each what `render` accepts.
        """
        remaining = iter(images)
        while batch := list(islice(remaining, self._classifier.batch_size)):
            pictures = [_render_or_error(image) for image in batch]
            readable = [each for each in pictures if not isinstance(each, MernetError)]
            predictions = iter(self._classify_batch(readable) if readable else ())
            for image, picture in zip(batch, pictures, strict=True):
                yield image, picture if isinstance(picture, MernetError) else next(predictions)

    def _classify_batch(self, renderings: "list[NDArray[np.uint8]]") -> list[Prediction]:
        scores = self._classifier.probabilities(renderings)
        # Compared as float32, as published: 0.9 as a Python float is a slightly different number.
        above = scores > self._classifier.threshold
        return [self._prediction(*row) for row in zip(scores, above, strict=True)]

    def _prediction(self, scores: "NDArray[np.float32]", above: "NDArray[np.bool_]") -> Prediction:
        probabilities = dict(zip(self.classes, scores.tolist(), strict=True))
        published = [code for code, is_above in zip(self.classes, above, strict=True) if is_above]
        published.sort(key=lambda code: -probabilities[code])
        return Prediction(probabilities, {code: probabilities[code] for code in published})


def load_classifier(
    checkpoint: str | os.PathLike[str] | None = None,
    *,
    device: str | None = None,
    batch_size: int | None = None,
) -> ProductClassifier:
    """Load a checkpoint onto a device.

    Args:
        checkpoint: Path of a .safetensors file; by default MERNET_CHECKPOINT.
        device: "cpu", "cuda" or "cuda:N"; by default MERNET_DEVICE, else a GPU if there is one.
        batch_size: Images in one pass; by default MERNET_BATCH_SIZE, else 64 on a GPU, 8 on a CPU.

    Raises:
        MernetError: No checkpoint is named, the file cannot be used, or the device does not exist.
    """
    from mernet.model.classifier import Classifier
    from mernet.worker.settings import settings

    config = settings()
    path = checkpoint or config.checkpoint
    if path is None:
        raise CheckpointNotNamedError(
            "No checkpoint is named; give the path of a .safetensors file, or set "
            "MERNET_CHECKPOINT to it."
        )
    configured_device = None if config.device == "auto" else config.device
    return ProductClassifier(
        Classifier.load(
            Path(path),
            device=device or configured_device,
            batch_size=batch_size or config.batch_size,
        )
    )


def _render_or_error(image: "ImageLike") -> "NDArray[np.uint8] | MernetError":
    try:
        return render(image)
    except MernetError as error:
        return error


def read_product(product: str | os.PathLike[str] | bytes, label: bytes | None = None) -> "Frame":
    """Decode an archive product: its pixels, and the facts of its label.

    Args:
        product: A PDS3 file; or of a PDS4 product the label, or the data file beside it. As
            bytes: the whole PDS3 file, or the PDS4 data file.
        label: The PDS4 label as bytes, if `product` is the bytes of a PDS4 data file.

    Returns:
        A frame. `frame.pixels` is an array (lines, samples) of integers or of float32, in which NaN
        means no measurement; `frame.label` holds sol, site, drive, start time and more, each None
        if the label does not say.

    Raises:
        MernetError: The file cannot be read, or is not an intact image.
    """
    from mernet.pds.image import decode, read_file

    if isinstance(product, bytes):
        return decode(product, "the product", label)
    if label is not None:
        raise TypeError("label is for bytes; the label of a file is found beside it")
    return read_file(Path(product))


def render(image: "ImageLike") -> "NDArray[np.uint8]":
    """Return the 8-bit picture that a classifier sees, equal to the archive's browse image.

    Args:
        image: A path (a PDS3 product, the label or data file of a PDS4 product, or a JPEG, PNG
            or TIFF picture), the bytes of a PDS3 product or of such a picture, a frame that
            `read_product` returned, or a two-dimensional array of uint8, which is returned as it
            is.

    Returns:
        A uint8 array (lines, samples). The pixels of a product are stretched linearly, their
        minimum to 0 and their maximum to 255; a picture's colours become grey levels.

    Raises:
        MernetError: The image cannot be read, or is an array of another type or shape.
    """
    import numpy as np

    from mernet.model.errors import RenderingError
    from mernet.model.pictures import check_side, is_picture, read_picture
    from mernet.pds.image import Frame
    from mernet.pds.rendering import render as stretch
    from mernet.worker.image_files import read_image_file

    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 2:
            raise RenderingError(
                f"The array is {image.dtype} of shape {image.shape}; give a two-dimensional uint8 "
                "array, pixels stretched linearly from minimum (0) to maximum (255)."
            )
        return check_side(image, "the array")
    if isinstance(image, Frame):
        return check_side(stretch(image), "the frame")
    if isinstance(image, bytes):
        if is_picture(image):
            return check_side(read_picture(image), "the picture")
        return check_side(stretch(read_product(image)), "the product")
    return read_image_file(Path(image))


def search(
    *classes: str,
    without: str | Sequence[str] = (),
    rover: str | None = None,
    sols: tuple[int | None, int | None] = (None, None),
    min_probability: float = 0.0,
    limit: int | None = None,
    database_url: str | None = None,
) -> list[SearchRecord]:
    """Search the published table for images that show all the given classes.

    The database has to run, its tables at this program's version: unlike `mernet search`, this
    function neither starts the embedded server nor upgrades tables.

    Args:
        classes: Codes or names of one class or more, such as "rtr" or "Rover tracks".
        without: A class, or several, that the image must not show.
        rover: "Opportunity" or "Spirit".
        sols: First and last sol, both included; None leaves that end open.
        min_probability: The lowest probability of each of `classes`.
        limit: The largest number of images; by default all.
        database_url: postgresql://user:password@host/name; by default MERNET_DATABASE_URL, else the
            embedded server in MERNET_DATA_DIR.

    Returns:
        One record for each image and class asked for. Images are ordered by the probability of the
        first class, the highest first; the classes of an image are in chain order.

    Raises:
        MernetError: The database cannot be used, or a class or rover is unknown.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from mernet.db.errors import DbError
    from mernet.db.search import Query, search_pages

    query = Query(
        classes=classes,
        without=(without,) if isinstance(without, str) else tuple(without),
        rover=rover,
        sols=sols,
        min_probability=min_probability,
    )
    engine = _connect(database_url)
    try:
        _check_tables(engine)
        hits = search_pages(engine, query, limit).hits
    except SQLAlchemyError as error:
        reason = printable(str(error).partition("\n")[0])
        raise DbError(f"The search failed ({reason}); check the database and its log.") from error
    finally:
        engine.dispose()
    return [record for hit in hits for record in _records(hit)]


def _connect(database_url: str | None) -> "sa.Engine":
    """Connect to the given database, else to that of the settings."""
    from mernet.db.engine import connect
    from mernet.db.errors import ConnectionFailed
    from mernet.worker.settings import settings

    try:
        return connect(database_url or settings().database)
    except ConnectionFailed as error:
        if database_url or settings().database_url:
            raise
        raise ConnectionFailed(
            f"The embedded database in {settings().data_dir} does not answer; start it with "
            "`mernet services start`, or give database_url."
        ) from error


def _check_tables(engine: "sa.Engine") -> None:
    """Raise SchemaError unless the tables are of this program's version."""
    from mernet.db.errors import SchemaOutdated
    from mernet.db.migrate import check_current

    try:
        check_current(engine)
    except SchemaOutdated as error:
        raise SchemaOutdated(f"{error} `mernet db upgrade` does this.") from error


def _records(hit: "Hit") -> Iterator[SearchRecord]:
    from mernet.model.classes import CLASSES

    for each in CLASSES:
        if each.code in hit.probabilities:
            yield {
                "product_id": hit.product_id,
                "class": each.code,
                "class_name": each.name,
                "confidence": hit.probabilities[each.code],
                "rover": hit.rover,
                "sol": hit.sol,
                "site": hit.site,
                "drive": hit.drive,
                "start_time": hit.start_time,
                "local_solar_time": hit.local_solar_time,
                "image_url": hit.image_url,
                "browse_url": hit.browse_url,
                "classifier": hit.classifier,
                "missing_share": hit.missing_share,
            }


def to_dataframe(records: Iterable[SearchRecord]) -> "pd.DataFrame":
    """Return the records of a search as a pandas DataFrame.

    Its columns are those of `SearchRecord`, also if there are no records. Sol, site and drive are
    nullable integers (Int64), `start_time` is in UTC.

    Raises:
        MissingLibraryError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise MissingLibraryError(
            "A DataFrame needs pandas; install it with: pip install pandas"
        ) from error
    table = pd.DataFrame(list(records), columns=list(SearchRecord.__annotations__))
    table["start_time"] = pd.to_datetime(table["start_time"], utc=True)
    return table.astype({"sol": "Int64", "site": "Int64", "drive": "Int64"})
