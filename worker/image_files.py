"""Image files on disk, pictures and archive products alike."""

from pathlib import Path

from mernet.model.pictures import (
    PICTURE_SUFFIXES,
    Picture,
    check_is_file,
    check_side,
    read_picture,
)
from mernet.pds.image import read_file
from mernet.pds.rendering import render
from mernet.printable import printable

PRODUCT_SUFFIX = ".img"


def read_image_file(path: Path) -> Picture:
    """Return the picture in a JPEG, PNG or TIFF file, or the rendering of an archive product.

    A file with another suffix than a picture's is read as a product: a PDS3 file, or the label or
    data file of a PDS4 product.

    Raises:
        PictureError: A picture cannot be read or is too small, or the path is no file's; the
            message names it.
        PdsError: A product cannot be read; the message names the file.
    """
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return check_side(read_picture(path), printable(path))
    check_is_file(path)
    return check_side(render(read_file(path)), printable(path))


def find_image_files(folder: Path) -> list[Path]:
    """Return the pictures and products in a folder and its subfolders, sorted.

    A PDS4 label is not included: its product is found by the data file beside it.
    """
    wanted = (*PICTURE_SUFFIXES, PRODUCT_SUFFIX)
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in wanted)
