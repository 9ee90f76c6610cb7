"""Pictures on disk, whatever their kind: browse pictures and archive products."""

from pathlib import Path

from mernet.model.training.data.picture_files import (
    PICTURE_SUFFIXES,
    PRODUCT_SUFFIX,
    Picture,
    read_picture,
)
from mernet.pds.image import read_file, render

PRODUCT_SUFFIXES = (".img", ".xml")


def read_any(path: Path) -> Picture:
    """The picture in a JPEG, PNG or TIFF file, or the rendering of a PDS3 or PDS4 product.

    Raises DataSetError or PdsError, naming the file, where it cannot be read.
    """
    if path.suffix.lower() in PRODUCT_SUFFIXES:
        return render(read_file(path))
    return read_picture(path)


def pictures_in(folder: Path) -> list[Path]:
    """The pictures and products in a folder and all below it, sorted.

    A PDS4 label is left out: its product is found by the data file beside it.
    """
    wanted = (*PICTURE_SUFFIXES, PRODUCT_SUFFIX)
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in wanted)
