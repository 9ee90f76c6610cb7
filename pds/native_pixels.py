"""Convert pixels to what all decoders return: integers, or float32 with NaN for no measurement."""

from collections.abc import Sequence

import numpy as np

from mernet.pds.errors import BlankImageError


def to_native_pixels(
    pixels: np.ndarray, name: str, special_constants: Sequence[float] = ()
) -> np.ndarray:
    """Return pixels in native byte order: integers unchanged, reals as float32.

    In reals, the special constants, values that are not finite, and values beyond float32 become
    NaN.

    Raises:
        BlankImageError: All pixels of the file `name` would be NaN.
    """
    if pixels.dtype.kind != "f":
        return pixels.astype(pixels.dtype.newbyteorder("="))
    with np.errstate(over="ignore", invalid="ignore"):
        special = np.isin(pixels, np.asarray(special_constants, pixels.dtype))
        reals = pixels.astype(np.float32)
    unusable = special | ~np.isfinite(reals)
    if unusable.all():
        raise BlankImageError(f"{name} has no pixel with a finite value, so it shows nothing")
    reals[unusable] = np.nan
    return reals


def check_not_blank(pixels: np.ndarray, name: str, special_constants: Sequence[float] = ()) -> None:
    """Check that the pixels show something: all zero or all saturated is one value, too.

    Args:
        pixels: What `to_native_pixels` returned.
        name: The file's name, for messages.
        special_constants: Values that stand for pixels without a measurement.

    Raises:
        BlankImageError: All pixels, or all of those with a measurement, have one value.
    """
    low, high = np.nanmin(pixels), np.nanmax(pixels)
    if low == high:
        raise BlankImageError(f"{name} shows nothing: all its pixels have the value {low}")
    measured = pixels[~(np.isin(pixels, special_constants) | np.isnan(pixels))]
    if not measured.size or measured.min() == measured.max():
        raise BlankImageError(
            f"{name} shows nothing: all its pixels with a measurement have one value"
        )
