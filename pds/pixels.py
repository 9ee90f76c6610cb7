"""Pixels as every reader hands them on: integers, or float32 in which NaN is no measurement."""

import numpy as np

from mernet.pds.errors import DecodeError


def native(pixels: np.ndarray, name: str, special_constants: tuple[float, ...] = ()) -> np.ndarray:
    """The pixels in native byte order: integers as they are, reals as float32.

    Of reals, the special constants, what is not finite and what float32 cannot hold become NaN.
    Raises DecodeError naming the file if that leaves no pixel.
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
