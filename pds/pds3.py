"""Decode PDS3 products: label, VICAR header and pixels in one file, by GDAL."""

import json
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from mernet.pds.errors import DamagedError, DecodeError, TruncatedError
from mernet.pds.label import LabelFacts, check_size, counter_or_none, text_or_none, time_or_none
from mernet.pds.native_pixels import to_native_pixels

MAX_LABEL_BYTES = 256 * 1024  # real labels have up to 26 kB
CHECKSUM_TOLERANCE = 1e-5  # labels print it to about 6 digits
LABEL_START = re.compile(rb"\s*PDS_VERSION_ID\s*=\s*PDS3\b")
LABEL_END = re.compile(rb"^[ \t]*END[ \t]*\r?$", re.MULTILINE)
OWN_PIXELS = re.compile(rb"^[ \t]*\^IMAGE[ \t]*=[ \t]*\d+[ \t]*\r?$", re.MULTILINE)
# GDAL would follow each of these to pixels in another file.
OTHER_FILE = re.compile(rb"\^(SPECTRAL_)?QUBE\b|COMPRESSED_FILE|\^IMAGE\s*=\s*[^\d\s]")
# The types that GDAL reads in the byte order of the PDS3 Standards Reference, appendix C. It reads
# every other type as one of these; of these, all of 32 bits as reals and all of 8 bits as unsigned.
SAMPLE_TYPES = {
    ("MSB_INTEGER", 8): "i1", ("MSB_UNSIGNED_INTEGER", 8): "u1",
    ("LSB_INTEGER", 8): "i1", ("LSB_UNSIGNED_INTEGER", 8): "u1", ("UNSIGNED_INTEGER", 8): "u1",
    ("MSB_INTEGER", 16): "i2", ("MSB_UNSIGNED_INTEGER", 16): "u2",
    ("LSB_INTEGER", 16): "i2", ("LSB_UNSIGNED_INTEGER", 16): "u2",
    ("MSB_INTEGER", 32): "i4", ("MSB_UNSIGNED_INTEGER", 32): "u4", ("IEEE_REAL", 32): "f4",
    ("LSB_INTEGER", 32): "i4", ("LSB_UNSIGNED_INTEGER", 32): "u4", ("PC_REAL", 32): "f4",
    ("IEEE_REAL", 64): "f8", ("PC_REAL", 64): "f8",
}  # fmt: skip

# An image of the ground has no map projection. The filter is set once for the process: threads that
# set and restore it around each image would undo each other's.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)


@dataclass(frozen=True, slots=True)
class Layout:
    """The position of the pixels and the size of the file as the label gives them, in bytes.

    `sample_type` is in native byte order.
    """

    offset: int
    end: int
    sample_type: np.dtype
    file_bytes: int


def read_label(data: bytes, name: str) -> LabelFacts:
    """Read the facts of a product's label; `data` may end anywhere after the label.

    Raises:
        DecodeError: The label is missing or does not describe an image.
    """
    with _open_dataset(data, name) as (_, label):
        return _read_facts(label, name)


def decode(data: bytes, name: str) -> tuple[np.ndarray, LabelFacts]:
    """Decode a product; every claim of its label is checked before a pixel is read.

    Returns:
        The pixels (lines, line_samples), integers of the label's type or float32, in native byte
        order; and the facts of the label.

    Raises:
        DecodeError: The file is not a readable image; a subclass may say why.
    """
    with _open_dataset(data, name) as (dataset, label):
        facts = _read_facts(label, name)
        check_size(facts, name)
        layout = _layout(label, facts, name)
        _check_layout(layout, data, name)
        if dataset.count != 1 or dataset.shape != (facts.lines, facts.line_samples):
            raise DecodeError(f"{name} is not a single-band image of the size in its label")
        if np.dtype(dataset.dtypes[0]).itemsize != layout.sample_type.itemsize:
            raise DecodeError(f"{name} has samples of a different size than its label says")
        # GDAL may use another type, but it has put the bytes of each sample in native order.
        pixels = to_native_pixels(dataset.read(1).view(layout.sample_type), name)
    _check_checksum(pixels, label, facts, name)
    return pixels, facts


@contextmanager
def _open_dataset(
    data: bytes, name: str
) -> Iterator[tuple[rasterio.DatasetReader, dict[str, Any]]]:
    """Open the file as GDAL's dataset; yield it and its whole label as nested dictionaries.

    GDAL gives the label as JSON in one metadata item, which rasterio splits at the first colon.
    """
    _check_label_text(data[:MAX_LABEL_BYTES], name)
    try:
        with (
            rasterio.Env(GDAL_MAX_BAND_COUNT=1),
            rasterio.MemoryFile(data) as file,
            file.open(driver="PDS") as dataset,
        ):
            ((head, tail),) = dataset.tags(ns="json:PDS").items()
            yield dataset, json.loads(f"{head}:{tail}")
    except (RasterioError, ValueError) as error:
        raise DecodeError(f"{name} cannot be read as a PDS3 image: {error}") from error


def _check_label_text(head: bytes, name: str) -> None:
    """Check what GDAL does not check: the label is complete, the pixels are in the same file."""
    if not LABEL_START.match(head):
        raise DecodeError(
            f"{name} does not begin with a PDS3 label; it may be another kind of file or a web page"
        )
    end = LABEL_END.search(head)
    if end is None:
        raise TruncatedError(f"{name} ends within its label; fetch it again")
    label = head[: end.start()]
    if OTHER_FILE.search(label) or not OWN_PIXELS.search(label):
        raise DecodeError(f"{name} has a label that does not point to pixels in the same file")


def _read_facts(label: Mapping[str, Any], name: str) -> LabelFacts:
    """Return the facts that are used; LINES and LINE_SAMPLES are those of OBJECT = IMAGE."""
    image = _group_or_empty(label, "IMAGE")
    motion = label.get("ROVER_MOTION_COUNTER")
    site, drive, *_ = motion if isinstance(motion, list) and len(motion) > 1 else (None, None)
    return LabelFacts(
        lines=_positive_number(image, "LINES", name),
        line_samples=_positive_number(image, "LINE_SAMPLES", name),
        product_id=text_or_none(label.get("PRODUCT_ID")),
        data_set_id=text_or_none(label.get("DATA_SET_ID")),
        sol=counter_or_none(label.get("PLANET_DAY_NUMBER")),
        site=counter_or_none(site),
        drive=counter_or_none(drive),
        start_time=time_or_none(label.get("START_TIME")),
        local_solar_time=text_or_none(label.get("LOCAL_TRUE_SOLAR_TIME")),
        filter_name=text_or_none(
            _group_or_empty(label, "OBSERVATION_REQUEST_PARMS").get("FILTER_NAME")
        ),
        sample_bit_mask=text_or_none(image.get("SAMPLE_BIT_MASK")),
    )


def _layout(label: Mapping[str, Any], facts: LabelFacts, name: str) -> Layout:
    """Return the layout, from numbers of records of RECORD_BYTES bytes.

    ^IMAGE counts records from 1, so the pixels begin at byte (^IMAGE - 1) x RECORD_BYTES; the file
    has FILE_RECORDS x RECORD_BYTES bytes.
    """
    record_bytes = _positive_number(label, "RECORD_BYTES", name)
    offset = (_positive_number(label, "^IMAGE", name) - 1) * record_bytes
    sample_type = _sample_type(_group_or_empty(label, "IMAGE"), name)
    return Layout(
        offset=offset,
        end=offset + facts.lines * facts.line_samples * sample_type.itemsize,
        sample_type=sample_type,
        file_bytes=_positive_number(label, "FILE_RECORDS", name) * record_bytes,
    )


def _sample_type(image: Mapping[str, Any], name: str) -> np.dtype:
    """Return the type that SAMPLE_TYPE and SAMPLE_BITS mean."""
    kind, bits = str(image.get("SAMPLE_TYPE")).upper(), _positive_number(image, "SAMPLE_BITS", name)
    if (kind, bits) not in SAMPLE_TYPES:
        raise DecodeError(
            f"{name} has samples of {bits} bits of type {kind[:40]!r}, which are not supported; "
            "integers of 8 to 32 bits and reals of 32 or 64 bits are"
        )
    return np.dtype(SAMPLE_TYPES[kind, bits])


def _check_layout(layout: Layout, data: bytes, name: str) -> None:
    """Check the label's claims against the size of the file, before a pixel is read."""
    if len(data) < layout.file_bytes:
        raise TruncatedError(
            f"{name} has {len(data)} bytes but its label says {layout.file_bytes}; fetch it again"
        )
    if len(data) > layout.file_bytes:
        raise DecodeError(
            f"{name} has {len(data)} bytes but its label says {layout.file_bytes}; "
            "file and label do not belong together"
        )
    if layout.end > len(data) or not LABEL_END.search(data, 0, layout.offset):
        raise DecodeError(
            f"{name} has a wrong pointer: its label puts the pixels at bytes {layout.offset} to "
            f"{layout.end} of {len(data)}"
        )


def _check_checksum(
    pixels: np.ndarray, label: Mapping[str, Any], facts: LabelFacts, name: str
) -> None:
    """Check the sum of integer pixels against CHECKSUM, for raw products only.

    It agreed for all raw files tried, of four cameras and of 2004 to 2015. Derived products often
    have the checksum of the raw product that they were derived from.
    """
    checksum = _group_or_empty(label, "IMAGE").get("CHECKSUM")
    is_raw = "-EDR-" in (facts.data_set_id or "") and pixels.dtype.kind != "f"
    if not is_raw or not isinstance(checksum, int | float):
        return
    total = int(pixels.sum(dtype=np.int64))
    if not math.isclose(total, checksum, rel_tol=CHECKSUM_TOLERANCE):
        raise DamagedError(
            f"{name} has pixels that add up to {total} but its label says {checksum:.0f}; "
            "fetch it again"
        )


def _group_or_empty(label: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object or group of the label, empty if the label does not have it."""
    group = label.get(name)
    return group if isinstance(group, dict) else {}


def _positive_number(group: Mapping[str, Any], key: str, name: str) -> int:
    """Return a positive whole number that the label must have."""
    value = group.get(key)
    if not isinstance(value, int) or value < 1:
        raise DecodeError(f"{name} has a label with {key} = {value!r}; a positive number is needed")
    return value
