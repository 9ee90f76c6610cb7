"""Reads picture files, such as the archive's browse images, as grey levels."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mernet.model.errors import PictureError

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
PILLOW_FORMATS = ("JPEG", "PNG", "TIFF")

Picture = NDArray[np.uint8]
"""One image, (H, W) grey levels 0 to 255."""


def read_picture(path: Path) -> Picture:
    """Read the grey levels (H, W) uint8 of a JPEG, PNG or TIFF file; colours become their luma.

    Raises:
        PictureError: The file cannot be read, or has more than 8 bits per pixel; the message names
            the file.
    """
    try:
        with Image.open(path, formats=PILLOW_FORMATS) as image:
            if image.mode[0] in "IF":
                raise PictureError(
                    f"{path}: has more than 8 bits per pixel; use the 8-bit browse picture"
                )
            return np.asarray(image.convert("L"))
    except UnidentifiedImageError as error:
        raise PictureError(
            f"{path}: is not a JPEG, PNG or TIFF picture; replace the file"
        ) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PictureError(f"{path}: cannot be read ({error}); replace the file") from error
