"""Decode PDS3 products: an attached label, a VICAR header and the pixels in one file.

The label says where the pixels are and of what type. A key that puts them elsewhere, or in another
order, than one image of lines after lines is refused by its name: read as if it were not there, it
would give wrong pixels without an error. Sources: PDS3 Standards Reference 3.8, chapters 3, 5 and
14, appendix C; PDS Data Dictionary.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from mernet.pds import odl
from mernet.pds.errors import DamagedError, DecodeError, TruncatedError
from mernet.pds.label import (
    BASED,
    LabelFacts,
    based_number,
    check_size,
    counter_or_none,
    solar_time_or_none,
    text_or_none,
    time_or_none,
    whole_or_none,
)
from mernet.pds.native_pixels import check_not_blank, to_native_pixels
from mernet.pds.odl import Block, Quantity
from mernet.printable import printable

MAX_LABEL_BYTES = 256 * 1024  # real labels have up to 26 kB
CHECKSUM_TOLERANCE = 1e-5  # labels print it to about 6 digits
# PDS3 labels begin so; comments, and an SFDU label, may be in front.
GAP = rb"(?>(?:\s|/\*.*?\*/)*)"
LABEL_START = re.compile(
    rb"(?:\xef\xbb\xbf)?" + GAP + rb"(?:CCSD\w{0,60}[ \t]*=[^\r\n]{0,200}\s" + GAP + rb")?"
    rb"PDS_VERSION_ID" + GAP + rb"=" + GAP + rb"[\"']?PDS3\b",
    re.IGNORECASE | re.DOTALL,
)
# Data types of the Standards Reference, appendix C, with their aliases; numpy's kind and order.
SAMPLE_KINDS = {
    **dict.fromkeys(("MSB_INTEGER", "INTEGER", "SUN_INTEGER", "MAC_INTEGER"), ">i"),
    **dict.fromkeys(("MSB_UNSIGNED_INTEGER", "UNSIGNED_INTEGER", "SUN_UNSIGNED_INTEGER",
                     "MAC_UNSIGNED_INTEGER"), ">u"),
    **dict.fromkeys(("LSB_INTEGER", "PC_INTEGER", "VAX_INTEGER"), "<i"),
    **dict.fromkeys(("LSB_UNSIGNED_INTEGER", "PC_UNSIGNED_INTEGER", "VAX_UNSIGNED_INTEGER"), "<u"),
    **dict.fromkeys(("IEEE_REAL", "REAL", "FLOAT", "SUN_REAL", "MAC_REAL"), ">f"),
    "PC_REAL": "<f",
}  # fmt: skip
SAMPLE_BITS = {"i": (8, 16, 32), "u": (8, 16, 32), "f": (32, 64)}
RECORD_TYPES_WITHOUT_RECORDS = ("STREAM", "UNDEFINED")
# Of OBJECT = IMAGE: keys that say where the pixels are or in which order, and that are not
# honoured, with the values that change nothing. They count with a namespace in front, too.
NEUTRAL: dict[str, Callable[[object], bool]] = {
    "LINE_PREFIX_BYTES": lambda value: whole_or_none(value) == 0,
    "LINE_SUFFIX_BYTES": lambda value: whole_or_none(value) == 0,
    "LINE_PREFIX_STRUCTURE": lambda _: False,
    "LINE_SUFFIX_STRUCTURE": lambda _: False,
    "BAND_PREFIX_BYTES": lambda value: whole_or_none(value) == 0,
    "BAND_SUFFIX_BYTES": lambda value: whole_or_none(value) == 0,
    "SAMPLE_PREFIX_BYTES": lambda value: whole_or_none(value) == 0,
    "SAMPLE_SUFFIX_BYTES": lambda value: whole_or_none(value) == 0,
    "SUFFIX_BYTES": lambda value: whole_or_none(value) == 0,
    "SUFFIX_ITEMS": lambda value: _all_of(value, 0),
    "PREFIX_BYTES": lambda value: whole_or_none(value) == 0,
    "BANDS": lambda value: whole_or_none(value) == 1,
    "CORE_ITEMS": lambda _: False,
    "ENCODING_TYPE": lambda value: value == "NONE",
    "ENCODING_COMPRESSION_RATIO": lambda value: value in (0, 1),
    "COMPRESSION_TYPE": lambda value: value == "NONE",
    "INTERCHANGE_FORMAT": lambda value: value == "BINARY",
    "AXIS_ORDER_TYPE": lambda value: value == "FIRST_INDEX_FASTEST",
    "AXIS_INTERLEAVE": lambda value: value in ("BSQ", "BIL"),
    "LINE_DISPLAY_DIRECTION": lambda value: value == "DOWN",
    "SAMPLE_DISPLAY_DIRECTION": lambda value: value == "RIGHT",
    # Order is what the rendering keeps: numbers that are only scaled and moved show the same.
    "SCALING_FACTOR": lambda value: isinstance(value, int | float) and value > 0,
}
# The order of lines in a file of one band is that of lines in any of these.
ONE_BAND_STORAGE = ("BAND_SEQUENTIAL", "LINE_INTERLEAVED", "SAMPLE_INTERLEAVED")
COMPRESSED_OBJECTS = ("COMPRESSED_FILE", "COMPRESSED_IMAGE")
SPECIAL_CONSTANTS = ("MISSING_CONSTANT", "INVALID_CONSTANT", "NULL_CONSTANT")


@dataclass(frozen=True, slots=True)
class Layout:
    """The position of the pixels as the label gives it, in bytes.

    `file_bytes` is the size of the file, None if the label does not say.
    """

    label_end: int
    offset: int
    end: int
    sample_type: np.dtype
    file_bytes: int | None


def read_label(data: bytes, name: str) -> LabelFacts:
    """Read the facts of a product's label; `data` may end anywhere after the label.

    Raises:
        DecodeError: The label is missing or does not describe an image.
    """
    label = _parse_label(data, name)
    _pointer(label, name)
    return _read_facts(label, _image_of(label, name), name)


def decode(data: bytes, name: str) -> tuple[np.ndarray, LabelFacts]:
    """Decode a product; every claim of its label is checked before a pixel is read.

    Returns:
        The pixels (lines, line_samples), integers of the label's type or float32, in native byte
        order; and the facts of the label.

    Raises:
        DecodeError: The file is not a readable image; a subclass may say why.
    """
    label = _parse_label(data, name)
    image = _image_of(label, name)
    facts = _read_facts(label, image, name)
    check_size(facts, name)
    _check_keys(label, image, name)
    layout = _layout(label, image, facts, name)
    _check_layout(layout, data, name)
    shape = (facts.lines, facts.line_samples)
    stored = np.frombuffer(data, layout.sample_type, math.prod(shape), layout.offset)
    constants = _special_constants(image, layout.sample_type)
    pixels = to_native_pixels(stored.reshape(shape), name)
    _check_checksum(pixels, image, facts, name)
    check_not_blank(pixels, name, constants)
    return pixels, facts


def _parse_label(data: bytes, name: str) -> Block:
    """Read the label's statements; the label has to be complete."""
    head = data[:MAX_LABEL_BYTES]
    if not LABEL_START.match(head):
        raise DecodeError(
            f"{name} does not begin with a PDS3 label; it may be another kind of file or a web page"
        )
    try:
        label = odl.parse(head)
    except odl.OdlTruncated as error:
        raise _unfinished(data, name, printable(error)) from error
    except odl.OdlError as error:
        raise DecodeError(
            f"{name} has a damaged label: {printable(error)}; fetch it again"
        ) from error
    if not label.is_ended:
        raise _unfinished(data, name, "it has no END")
    return label


def _unfinished(data: bytes, name: str, problem: str) -> DecodeError:
    """Return the error for a label without an end: the file is cut, or the label is no such one."""
    if len(data) > MAX_LABEL_BYTES:
        return DecodeError(
            f"{name} has a label without an end in its first {MAX_LABEL_BYTES} bytes ({problem}); "
            "fetch it again"
        )
    return TruncatedError(f"{name} ends within its label ({problem}); fetch it again")


def _image_of(label: Block, name: str) -> Block:
    """Return the only OBJECT = IMAGE of a label."""
    images = label.blocks_named("IMAGE")
    if len(images) != 1:
        raise DecodeError(f"{name} describes {len(images)} images; a product has one")
    return images[0]


def _read_facts(label: Block, image: Block, name: str) -> LabelFacts:
    """Return the facts that are used; LINES and LINE_SAMPLES are those of OBJECT = IMAGE."""
    motion = label.get("ROVER_MOTION_COUNTER")
    places = motion if isinstance(motion, list) and len(motion) > 1 else (None, None)
    site, drive, *_ = map(_plain, places)
    lines = _positive_number(image, "LINES", name)
    line_samples = _positive_number(image, "LINE_SAMPLES", name)
    requests = label.blocks_named("OBSERVATION_REQUEST_PARMS")
    return LabelFacts(
        lines=lines,
        line_samples=line_samples,
        product_id=text_or_none(label.get("PRODUCT_ID")),
        data_set_id=text_or_none(label.get("DATA_SET_ID")),
        sol=counter_or_none(label.get("PLANET_DAY_NUMBER")),
        site=counter_or_none(site),
        drive=counter_or_none(drive),
        start_time=time_or_none(label.get("START_TIME")),
        local_solar_time=solar_time_or_none(label.get("LOCAL_TRUE_SOLAR_TIME")),
        filter_name=text_or_none(requests[0].get("FILTER_NAME") if requests else None),
        sample_bit_mask=text_or_none(image.get("SAMPLE_BIT_MASK")),
        missing_share=_missing_share(label, lines * line_samples),
    )


def _missing_share(label: Block, pixels: int) -> float | None:
    """Return the share of pixels that were not received, by the most pessimistic of the counts.

    None if no count is known: real labels often give "N/A".
    """
    shares = [_sum_of(value) / pixels for value in _values(label, "ERROR_PIXELS")]
    shares += [_sum_of(value) / pixels for value in _values(label, "INST_CMPRS_SEG_MISSING_PIXELS")]
    expected = sum(map(_sum_of, _values(label, "EXPECTED_PACKETS")))
    received = list(map(_sum_of, _values(label, "RECEIVED_PACKETS")))
    if expected > 0 and received:
        shares.append(1 - sum(received) / expected)
    return min(1.0, max(0.0, *shares)) if shares else None


def _values(label: Block, key: str) -> Iterator[object]:
    """Yield the values of a keyword, wherever in the label, that are counts."""
    for block in label.walk():
        for value in block.all(key):
            counts = value if isinstance(value, list) else [value]
            if counts and all(isinstance(each, int) and each >= 0 for each in counts):
                yield counts


def _sum_of(counts: object) -> int:
    return sum(counts) if isinstance(counts, list) else 0


def _check_keys(label: Block, image: Block, name: str) -> None:
    """Refuse what moves pixels, or puts them in another order, and is not honoured."""
    for key, is_neutral in NEUTRAL.items():
        named = (value for own, value in image.values if own.rpartition(":")[2] == key)
        for value in map(_plain, named):
            if text_or_none(value) is not None and not is_neutral(value):
                raise DecodeError(f"{name} has a label with {key} = {_short(value)}, "
                                  "which is not supported")  # fmt: skip
    storage = text_or_none(_plain(image.get("BAND_STORAGE_TYPE")))
    if storage is not None and storage not in ONE_BAND_STORAGE:
        raise DecodeError(
            f"{name} has a label with BAND_STORAGE_TYPE = {_short(storage)}, which is not supported"
        )
    compressed = label.blocks_named(*COMPRESSED_OBJECTS)
    pointers = [key for key, _ in label.values if key.startswith(("^COMPRESSED", "^UNCOMPRESSED"))]
    for problem in (*(f"OBJECT = {block.name}" for block in compressed), *pointers):
        raise DecodeError(f"{name} has a label with {problem}; compressed files are not supported")


def _layout(label: Block, image: Block, facts: LabelFacts, name: str) -> Layout:
    """Return the layout of the file.

    ^IMAGE counts records of RECORD_BYTES bytes, or bytes with the unit <BYTES>, from 1; the file
    has FILE_RECORDS x RECORD_BYTES bytes.
    """
    kind = str(_plain(label.get("RECORD_TYPE")) or "FIXED_LENGTH")
    has_records = kind not in RECORD_TYPES_WITHOUT_RECORDS
    if has_records and kind != "FIXED_LENGTH":
        raise DecodeError(f"{name} has a label with RECORD_TYPE = {_short(kind)}, "
                          "which is not supported")  # fmt: skip
    offset = _pointer(label, name)
    sample_type = _sample_type(image, name)
    return Layout(
        label_end=label.end,
        offset=offset,
        end=offset + facts.lines * facts.line_samples * sample_type.itemsize,
        sample_type=sample_type,
        file_bytes=_positive_number(label, "FILE_RECORDS", name)
        * _positive_number(label, "RECORD_BYTES", name)
        if has_records
        else None,
    )


def _pointer(label: Block, name: str) -> int:
    """Return the position of the pixels in the file that ^IMAGE means."""
    pointers = label.all("^IMAGE")
    if not pointers or any(each != pointers[0] for each in pointers):
        raise DecodeError(
            f"{name} has a label with {len(pointers)} pointers ^IMAGE, "
            "so it does not say where in the file its pixels are"
        )
    pointer = pointers[0]
    if isinstance(pointer, list) and len(pointer) == 1:
        pointer = pointer[0]
    if isinstance(pointer, str) and whole_or_none(pointer) is None:
        pointer = [pointer, 1]
    if isinstance(pointer, list) and len(pointer) == 2 and isinstance(pointer[0], str):
        _check_own_file(pointer[0], name)
        pointer = pointer[1]
    is_bytes = isinstance(pointer, Quantity) and pointer.unit in ("BYTES", "BYTE")
    number = whole_or_none(pointer.value if isinstance(pointer, Quantity) else pointer)
    if number is None or number < 1 or (isinstance(pointer, Quantity) > is_bytes):
        raise DecodeError(
            f"{name} has a label with ^IMAGE = {_short(pointers[0])}; "
            "a number of a record or of a byte is needed"
        )
    return number - 1 if is_bytes else (number - 1) * _positive_number(label, "RECORD_BYTES", name)


def _check_own_file(file_name: str, name: str) -> None:
    """Refuse a pointer to another file; a label may name its own one."""
    own, named = PurePath(name.upper()), PurePath(file_name.upper())
    if named.name != own.name and (own.suffix or named.stem != own.stem):
        raise DecodeError(
            f"{name} has a label that points to pixels in {_short(file_name)} and not in the same "
            "file; detached PDS3 labels are not supported"
        )


def _sample_type(image: Block, name: str) -> np.dtype:
    """Return the type that SAMPLE_TYPE and SAMPLE_BITS mean, in the order of the file."""
    kind, bits = _plain(image.get("SAMPLE_TYPE")), _positive_number(image, "SAMPLE_BITS", name)
    code = SAMPLE_KINDS.get(kind) if isinstance(kind, str) else None
    if code is None or bits not in SAMPLE_BITS[code[1]]:
        raise DecodeError(
            f"{name} has samples of {bits} bits of type {_short(kind)}, which are not supported; "
            "integers of 8 to 32 bits and reals of 32 or 64 bits are"
        )
    return np.dtype(f"{code}{bits // 8}")


def _check_layout(layout: Layout, data: bytes, name: str) -> None:
    """Check the label's claims against the size of the file, before a pixel is read."""
    file_bytes = layout.end if layout.file_bytes is None else layout.file_bytes
    if len(data) < file_bytes:
        raise TruncatedError(
            f"{name} has {len(data)} bytes but its label says {file_bytes}; fetch it again"
        )
    if layout.file_bytes is not None and len(data) > layout.file_bytes:
        raise DecodeError(
            f"{name} has {len(data)} bytes but its label says {layout.file_bytes}; "
            "file and label do not belong together"
        )
    if layout.end > len(data) or layout.offset < layout.label_end:
        raise DecodeError(
            f"{name} has a wrong pointer: its label puts the pixels at bytes {layout.offset} to "
            f"{layout.end} of {len(data)}"
        )


def _special_constants(image: Block, sample_type: np.dtype) -> list[float]:
    """Return the numbers that stand for pixels without a measurement.

    A number of another base is the number of an integer, and the bits of a real (16#FF7FFFFB#).
    """
    constants: list[float] = []
    for value in map(_plain, (value for key in SPECIAL_CONSTANTS for value in image.all(key))):
        based = BASED.fullmatch(value) if isinstance(value, str) else None
        number = based_number(based) if based else value
        if not isinstance(number, int | float):
            continue
        if based and sample_type.kind == "f":
            if 0 <= int(number) < 2 ** (8 * sample_type.itemsize):
                bits = int(number).to_bytes(sample_type.itemsize, "big")
                constants.append(float(np.frombuffer(bits, f">f{sample_type.itemsize}")[0]))
        else:
            constants.append(float(number))
    return constants


def _check_checksum(pixels: np.ndarray, image: Block, facts: LabelFacts, name: str) -> None:
    """Check the sum of integer pixels against CHECKSUM, for raw products only.

    It agreed for all raw files tried, of four cameras and of 2004 to 2015. Derived products often
    have the checksum of the raw product that they were derived from.
    """
    checksum = image.get("CHECKSUM")
    is_raw = "-EDR-" in (facts.data_set_id or "") and pixels.dtype.kind != "f"
    if not is_raw or not isinstance(checksum, int | float):
        return
    total = int(pixels.sum(dtype=np.int64))
    if not math.isclose(total, checksum, rel_tol=CHECKSUM_TOLERANCE):
        raise DamagedError(
            f"{name} has pixels that add up to {total} but its label says {checksum:.0f}; "
            "fetch it again"
        )


def _all_of(value: object, number: int) -> bool:
    """Return whether a value, or each value of a sequence, is a number."""
    values: Iterable[object] = value if isinstance(value, list) else [value]
    return all(each == number for each in values)


def _plain(value: object) -> object:
    """Return a value without its unit; a text in upper case."""
    value = value.value if isinstance(value, Quantity) else value
    return value.strip().upper() if isinstance(value, str) else value


def _short(value: object) -> str:
    """Return a value for messages."""
    return printable(repr(value), 60)


def _positive_number(block: Block, key: str, name: str) -> int:
    """Return a positive whole number that the label must have, and must not have twice."""
    values = [value.value if isinstance(value, Quantity) else value for value in block.all(key)]
    if not values:
        raise DecodeError(f"{name} has a label without {key}; a positive number is needed")
    numbers = {whole_or_none(value) for value in values}
    number = numbers.pop()
    if numbers or number is None or number < 1:
        given = " and ".join(map(_short, values[:3]))
        raise DecodeError(f"{name} has a label with {key} = {given}; one positive number is needed")
    return number
