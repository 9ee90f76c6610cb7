"""Image files on disk, pictures and archive products alike."""

from pathlib import Path

from mernet.model.pictures import PICTURE_SUFFIXES, Picture, read_picture
from mernet.pds.image import read_file
from mernet.pds.rendering import render

PRODUCT_SUFFIX = ".img"


def read_image_file(path: Path) -> Picture:
    """Return the picture in a JPEG, PNG or TIFF file, or the rendering of an archive product.

    A file with another suffix than a picture's is read as a product: a PDS3 file, or the label or
    data file of a PDS4 product.

    Raises:
        PictureError: A picture file cannot be read; the message names the file.
        PdsError: A product cannot be read; the message names the file.
    """
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return read_picture(path)
    return render(read_file(path))


def find_image_files(folder: Path) -> list[Path]:
    """Return the pictures and products in a folder and its subfolders, sorted.

    A PDS4 label is not included: its product is found by the data file beside it.
    """
    wanted = (*PICTURE_SUFFIXES, PRODUCT_SUFFIX)
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in wanted)
