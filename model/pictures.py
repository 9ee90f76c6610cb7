"""Reads picture files, such as the archive's browse images, as grey levels."""

import struct
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from mernet.model.errors import PictureError
from mernet.model.paths import url_instead
from mernet.printable import printable

# What Pillow finds odd in a file, such as its tags, is no message for the user.
warnings.filterwarnings("ignore", module=r"PIL\.")

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
PILLOW_FORMATS = ("JPEG", "PNG", "TIFF")
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*")
"""The first bytes of files in these formats; a TIFF file may have either byte order."""

DAMAGED_TAGS = (ArithmeticError, AttributeError, LookupError, SyntaxError, TypeError, ValueError,
                struct.error)  # fmt: skip
"""What Pillow raises for tags that are damaged; errors of pixels are others."""

MIN_SIDE = 8  # pixels
MAX_PIXELS = 2**26  # 64 times an image of the archive
MAX_PICTURE_BYTES = 2**28

Picture = NDArray[np.uint8]
"""One image, (H, W) grey levels 0 to 255."""


def is_picture(data: bytes) -> bool:
    """Return whether these bytes begin like a JPEG, PNG or TIFF file."""
    return data.startswith(SIGNATURES)


def read_picture(picture: Path | bytes) -> Picture:
    """Read a JPEG, PNG or TIFF file as grey levels, (H, W) uint8; colours become their luma.

    A picture that its tags say is turned or mirrored is set upright, as viewers show it.

    Args:
        picture: The path of the file, or its bytes.

    Raises:
        PictureError: The file cannot be read, is too large, has more than 8 bits per
            pixel, or holds several pictures; the message names the file.
    """
    name = "the picture" if isinstance(picture, bytes) else printable(picture)
    file = BytesIO(picture) if isinstance(picture, bytes) else picture
    try:
        if isinstance(file, Path):
            check_is_file(file)
        with Image.open(file, formats=PILLOW_FORMATS) as image:
            _check_kind(image, name)
            return np.asarray(_upright(image).convert("L"))
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(f"{name}: has more than {MAX_PIXELS} pixels; make it smaller") from error
    except UnidentifiedImageError as error:
        raise PictureError(
            f"{name}: is not a JPEG, PNG or TIFF picture; replace the file"
        ) from error
    # Pillow has many kinds of errors for damaged files: struct.error, KeyError, EOFError ...
    except Exception as error:
        raise PictureError(
            f"{name}: cannot be read ({printable(error) or type(error).__name__}); replace the file"
        ) from error


def _upright(image: Image.Image) -> Image.Image:
    """Return a picture turned as its tag Orientation says; as it is if its tags are damaged."""
    try:
        return ImageOps.exif_transpose(image)
    except DAMAGED_TAGS:
        return image


def check_is_file(path: Path) -> None:
    """Check that a path leads to a regular file: a pipe or device may never end.

    Raises:
        PictureError: It does not; the message names the path.
    """
    if url := url_instead(path):
        raise PictureError(f"{printable(url)}: is a URL; download the file and give its path")
    try:
        is_file, size = path.is_file(), path.stat().st_size
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or printable(error)
        raise PictureError(
            f"{printable(path)}: cannot be read ({problem}); check the path"
        ) from error
    if not is_file:
        raise PictureError(f"{printable(path)}: is not a file; give the path of a file")
    if not 0 < size <= MAX_PICTURE_BYTES:
        raise PictureError(
            f"{printable(path)}: has {size} bytes, at most {MAX_PICTURE_BYTES} and not 0 can be "
            "read; replace the file"
        )


def check_side(picture: Picture, name: str) -> Picture:
    """Return a picture if it is large enough to be classified.

    Raises:
        PictureError: It is not.
    """
    if min(picture.shape) < MIN_SIDE:
        raise PictureError(
            f"{name}: has {picture.shape[0]}x{picture.shape[1]} pixels; give a picture of at least "
            f"{MIN_SIDE} pixels each way"
        )
    return picture


def _check_kind(image: Image.Image, name: str) -> None:
    """Raise PictureError for a picture that has no 8-bit grey levels, or too many pixels."""
    if image.mode[0] in "IF":
        raise PictureError(f"{name}: has more than 8 bits per pixel; use the 8-bit browse picture")
    if image.width * image.height > MAX_PIXELS:
        raise PictureError(
            f"{name}: has {image.width}x{image.height} pixels, more than {MAX_PIXELS}; make it "
            "smaller"
        )
    if _has_second_picture(image):
        raise PictureError(f"{name}: holds several pictures; save the one to use as its own file")


def _has_second_picture(image: Image.Image) -> bool:
    """Return whether a file holds several pictures; Pillow would count a TIFF's in square time."""
    try:
        image.seek(1)
    except EOFError:
        return False
    finally:
        image.seek(0)
    return True
