"""Image files on disk: pictures and archive products alike."""

from pathlib import Path

from mernet.model.training.data.picture_files import (
    PICTURE_SUFFIXES,
    PRODUCT_SUFFIX,
    Picture,
    read_picture,
)
from mernet.pds.image import read_file, render

PRODUCT_SUFFIXES = (".img", ".xml")


def read_image_file(path: Path) -> Picture:
    """Return the picture in a JPEG, PNG or TIFF file, or the rendering of a PDS3 or PDS4 product.

    Raises:
        DataSetError: A picture file cannot be read; the message names the file.
        PdsError: A product cannot be read; the message names the file.
    """
    if path.suffix.lower() in PRODUCT_SUFFIXES:
        return render(read_file(path))
    return read_picture(path)


def find_image_files(folder: Path) -> list[Path]:
    """Return the pictures and products in a folder and its subfolders, sorted.

    A PDS4 label is not included: its product is found by the data file beside it.
    """
    wanted = (*PICTURE_SUFFIXES, PRODUCT_SUFFIX)
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in wanted)
