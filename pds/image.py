"""From a product's bytes to its pixels, and from pixels to the archive's 8-bit browse picture."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mernet.pds import disk, pds3, pds4
from mernet.pds.disk import MAX_PRODUCT_BYTES
from mernet.pds.errors import TruncatedError
from mernet.pds.label import LabelFacts


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded image: `pixels` (lines, line_samples) of integers or of float32, in which NaN is no
    measurement but not all are NaN, and label facts."""

    pixels: np.ndarray
    label: LabelFacts


def decode(data: bytes, name: str, label: bytes | None = None) -> Frame:
    """Decode one product: PDS3 with its attached label, or PDS4 where `label` is its XML.

    `name` is only for messages. Raises DecodeError or one of its subclasses, and nothing else.
    """
    if not data:
        raise TruncatedError(f"{name} is empty; fetch it again")
    pixels, facts = pds3.decode(data, name) if label is None else pds4.decode(data, label, name)
    return Frame(pixels, facts)


def read_file(path: Path) -> Frame:
    """Decode a product on disk: PDS3, or PDS4 by its .xml label or the data file beside that.

    Raises FetchError if a file cannot be read, DecodeError if it is no image, or their subclasses.
    """
    is_label = path.suffix.lower() == pds4.LABEL_SUFFIX
    label_path = path if is_label else pds4.label_beside(path)
    label = disk.read_file(label_path, MAX_PRODUCT_BYTES) if label_path else None
    if label and is_label:
        path = path.with_name(pds4.read_label(label, path.name).file_name)
    return decode(disk.read_file(path, MAX_PRODUCT_BYTES), path.name, label)


def render(frame: Frame) -> np.ndarray:
    """The archive's browse stretch: uint8, same shape, linear from minimum (0) to maximum (255).

    All pixels count, fill values too, as in the archive's own browse images (mean absolute
    difference to a real one: 1.7 to 2.2 grey levels). Pixels that are not finite become 0, and an
    image of one value is black.
    """
    values = frame.pixels.astype(np.float64)
    finite = np.isfinite(values)
    low, high = values[finite].min(), values[finite].max()
    if low == high:
        return np.zeros(values.shape, np.uint8)
    stretched = (np.where(finite, values, low) - low) * (255.0 / (high - low))
    rendering: np.ndarray = np.rint(stretched).astype(np.uint8)
    return rendering
