"""Reads picture files, such as the archive's browse images, as grey levels."""

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mernet.model.errors import PictureError

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
PILLOW_FORMATS = ("JPEG", "PNG", "TIFF")
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*")
"""The first bytes of files in these formats; a TIFF file may have either byte order."""

Picture = NDArray[np.uint8]
"""One image, (H, W) grey levels 0 to 255."""


def is_picture(data: bytes) -> bool:
    """Return whether these bytes begin like a JPEG, PNG or TIFF file."""
    return data.startswith(SIGNATURES)


def read_picture(picture: Path | bytes) -> Picture:
    """Read a JPEG, PNG or TIFF file as grey levels, (H, W) uint8; colours become their luma.

    Args:
        picture: The path of the file, or its bytes.

    Raises:
        PictureError: The file cannot be read, or has more than 8 bits per pixel; the message names
            the file.
    """
    name = "the picture" if isinstance(picture, bytes) else picture
    file = BytesIO(picture) if isinstance(picture, bytes) else picture
    try:
        with Image.open(file, formats=PILLOW_FORMATS) as image:
            if image.mode[0] in "IF":
                raise PictureError(
                    f"{name}: has more than 8 bits per pixel; use the 8-bit browse picture"
                )
            return np.asarray(image.convert("L"))
    except UnidentifiedImageError as error:
        raise PictureError(
            f"{name}: is not a JPEG, PNG or TIFF picture; replace the file"
        ) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PictureError(f"{name}: cannot be read ({error}); replace the file") from error
