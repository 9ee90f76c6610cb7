"""Convert pixels to what all decoders return: integers, or float32 with NaN for no measurement."""

import numpy as np

from mernet.pds.errors import DecodeError


def to_native_pixels(
    pixels: np.ndarray, name: str, special_constants: tuple[float, ...] = ()
) -> np.ndarray:
    """Return pixels in native byte order: integers unchanged, reals as float32.

    In reals, the special constants, values that are not finite, and values beyond float32 become
    NaN.

    Raises:
        DecodeError: All pixels of the file `name` would be NaN.
    """
    if pixels.dtype.kind != "f":
        return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    with np.errstate(over="ignore", invalid="ignore"):
        special = np.isin(pixels, np.asarray(special_constants, pixels.dtype))
        reals = pixels.astype(np.float32)
    unusable = special | ~np.isfinite(reals)
    if unusable.all():
        raise DecodeError(f"{name} has no pixel with a finite value")
    reals[unusable] = np.nan
    return reals
