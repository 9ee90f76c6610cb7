"""Decodes a product's bytes into a frame: pixels, and the facts of its label."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mernet.pds import disk, pds3, pds4
from mernet.pds.disk import MAX_PRODUCT_BYTES
from mernet.pds.errors import DecodeError, NotFoundError, PdsError, TruncatedError
from mernet.pds.label import LabelFacts
from mernet.printable import printable


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded image and the facts of its label.

    `pixels` (lines, line_samples) are integers or float32; NaN means no measurement. The pixels
    with a measurement have more than one value. `missing_share` is the share of pixels that were
    not received, 0 to 1, None if the label does not say.
    """

    pixels: np.ndarray
    label: LabelFacts
    missing_share: float | None = None


def decode(data: bytes, name: str, label: bytes | None = None) -> Frame:
    """Decode a product.

    Args:
        data: The bytes of the image file.
        name: The file's name, for messages.
        label: The XML of a PDS4 product's label; None for a PDS3 product with an attached label.

    Raises:
        BlankImageError: The image shows nothing.
        DecodeError: The bytes are not a readable image; a subclass may say why. No other error is
            raised.
    """
    name = printable(name)
    if not data:
        raise TruncatedError(f"{name} is empty; fetch it again")
    try:
        pixels, facts = pds3.decode(data, name) if label is None else pds4.decode(data, label, name)
    except (PdsError, MemoryError):
        raise
    except Exception as error:  # a defect that this file reveals; others are not affected
        raise DecodeError(f"{name} cannot be decoded ({type(error).__name__})") from error
    return Frame(pixels, facts, facts.missing_share)


def read_file(path: Path) -> Frame:
    """Decode a product on disk: PDS3; or PDS4, by its label (.xml, .lblx) or by its data file.

    Raises:
        FetchError: A file cannot be read.
        DecodeError: The file is not a readable image.
    """
    if not path.name:
        raise NotFoundError(f"{printable(path)} is not a file; give the path of a file")
    is_label = path.suffix.lower() in pds4.LABEL_SUFFIXES
    label_path = path if is_label else pds4.label_beside(path)
    label = disk.read_file(label_path, MAX_PRODUCT_BYTES) if label_path else None
    if label and is_label:
        path = path.with_name(pds4.read_label(label, printable(path.name)).file_name)
    return decode(disk.read_file(path, MAX_PRODUCT_BYTES), path.name, label)
