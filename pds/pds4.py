"""Decode PDS4 products, each an XML label and a file of pixels; pds4_tools reads the pixels."""

import contextlib
import hashlib
import io
import logging
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement
from xml.parsers.expat import ExpatError

import numpy as np
import pds4_tools
from pds4_tools.utils.exceptions import PDS4StandardsException

from mernet.pds.errors import DamagedError, DecodeError, TruncatedError
from mernet.pds.label import (
    LabelFacts,
    check_size,
    counter_or_none,
    solar_time_or_none,
    text_or_none,
    time_or_none,
)
from mernet.pds.native_pixels import check_not_blank, to_native_pixels
from mernet.pds.plain_name import LABEL_SUFFIXES as LABEL_SUFFIXES  # for those who read labels
from mernet.pds.plain_name import is_plain_file_name
from mernet.printable import printable, quoted

MAX_LABEL_BYTES = 1024 * 1024
MAX_DEPTH = 50  # elements inside each other; real labels have about 8
IMAGES = ("Array_2D_Image", "Array_2D")
NAMESPACE = "http://pds.nasa.gov/pds4/pds/v1"
SAMPLE_BYTES = {
    "UnsignedByte": 1, "SignedByte": 1,
    "UnsignedMSB2": 2, "UnsignedLSB2": 2, "SignedMSB2": 2, "SignedLSB2": 2,
    "UnsignedMSB4": 4, "UnsignedLSB4": 4, "SignedMSB4": 4, "SignedLSB4": 4,
    "IEEE754MSBSingle": 4, "IEEE754LSBSingle": 4, "IEEE754MSBDouble": 8, "IEEE754LSBDouble": 8,
}  # fmt: skip
MD5 = re.compile(r"[0-9a-f]+", re.IGNORECASE)  # and not such as "none"
COUNT = re.compile(r"[0-9]{1,9}")
NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
# What pds4_tools raises for labels that contradict the standard; it has no common base error.
PDS4_TOOLS_ERRORS = (
    PDS4StandardsException, ExpatError, ArithmeticError, AttributeError, LookupError,
    OSError, RuntimeError, SyntaxError, TypeError, ValueError,
)  # fmt: skip
# pds4_tools changes global state at each read: the exception hook and the recording of its log.
READING = threading.Lock()
# It also stores all messages that it logs in memory, and prints them.
logging.getLogger("PDS4ToolsLogger").disabled = True


@dataclass(frozen=True, slots=True)
class Label:
    """The content of a PDS4 label: the facts, the data file's name, the position of the pixels.

    `offset` and `sample_bytes` are in bytes. `special_constants` are pixel values that are not
    measurements; `md5` is that of the data file in hexadecimal digits, None if the label has none.
    """

    facts: LabelFacts
    file_name: str
    offset: int
    sample_bytes: int
    special_constants: tuple[float, ...]
    md5: str | None = None

    @property
    def end(self) -> int:
        """The position of the byte after the last pixel."""
        return self.offset + self.facts.lines * self.facts.line_samples * self.sample_bytes


def label_beside(path: Path) -> Path | None:
    """Return the label of a data file on disk, the file .xml or .lblx with its stem, or None."""
    suffixes = (case(suffix) for suffix in LABEL_SUFFIXES for case in (str.lower, str.upper))
    labels = (path.with_suffix(suffix) for suffix in suffixes)
    return next((label for label in labels if label.is_file()), None)


def read_label(data: bytes, name: str) -> Label:
    """Parse a PDS4 label of one two-dimensional image of integers or reals, in one file.

    Raises:
        DecodeError: The label is damaged or describes something else.
    """
    if len(data) > MAX_LABEL_BYTES:
        raise DecodeError(
            f"{name} has {len(data)} bytes, too many for a label; check that it is the right file"
        )
    root = parse_xml(data, name)
    area, image = _find_image(root, name)
    _check_order(root, image, name)
    sample_type = _text_at(image, "{*}Element_Array/{*}data_type") or "no type"
    if sample_type not in SAMPLE_BYTES:
        raise DecodeError(
            f"{name} has samples of {sample_type}, which is not an integer or real type"
        )
    lines, line_samples = _shape(image, name)
    _check_scaling(image, name)
    return Label(
        facts=_read_facts(root, lines, line_samples),
        file_name=_file_name(area, name),
        offset=_whole_number(image, "{*}offset", name, at_least=0),
        sample_bytes=SAMPLE_BYTES[sample_type],
        special_constants=_special_constants(image),
        md5=_text_at(area, "{*}File/{*}md5_checksum"),
    )


def _find_image(root: Element, name: str) -> tuple[Element, Element]:
    """Return the description of a label's image, behind that of the file that has it."""
    areas = root.findall("{*}File_Area_Observational")
    images = [(area, child) for area in areas for child in area if _tag(child) in IMAGES]
    if len(images) != 1:
        raise DecodeError(f"{name} does not describe one two-dimensional image")
    return images[0]


def parse_xml(data: bytes, name: str) -> Element:
    """Parse a label; labels have no document type, which could define endless text.

    Raises:
        DecodeError: It is not XML, or too deep.
    """
    if b"<!DOCTYPE" in data.replace(b"\0", b""):  # without the NULs of UTF-16
        raise DecodeError(f"{name} is not an XML label: it has a document type")
    try:
        return _parse_bounded(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DecodeError(f"{name} is not an XML label: {printable(error)}") from error


def _parse_bounded(data: bytes) -> Element:
    """Parse XML of bounded depth: what walks through deeper elements may run out of stack."""
    depth = 0
    root: Element | None = None
    # Expat reads no external entities and limits the growth of internal ones.
    elements = ElementTree.iterparse(io.BytesIO(data), ("start", "end"))  # nosec B314
    for event, element in elements:
        root = element if root is None else root
        depth += 1 if event == "start" else -1
        if depth > MAX_DEPTH:
            raise ValueError(f"it has more than {MAX_DEPTH} elements inside each other")
    if root is None:
        raise ValueError("it has no element")
    return root


def _check_order(root: Element, image: Element, name: str) -> None:
    """Refuse an image whose pixels are stored or shown in another order than lines after lines."""
    neutral = {
        "axis_index_order": ("last index fastest",),
        "vertical_display_direction": ("top to bottom",),
        "horizontal_display_direction": ("left to right",),
    }
    for element in root.iter():
        values = neutral.get(_tag(element))
        text = text_or_none(element.text)
        if values and text and text.lower() not in values:
            raise DecodeError(f"{name} has {_tag(element)} {quoted(text)}, which is not supported")
    unit = image.find("{*}offset")
    if unit is not None and unit.get("unit", "byte").lower() not in ("byte", "bytes"):
        raise DecodeError(f"{name} has an offset in {quoted(unit.get('unit'))} instead of bytes")


def _check_scaling(image: Element, name: str) -> None:
    """Refuse a scaling that is no number, or that gives all pixels one value."""
    for tag in ("scaling_factor", "value_offset"):
        text = _text_at(image, f"{{*}}Element_Array/{{*}}{tag}")
        if text is None:
            continue
        is_number = NUMBER.fullmatch(text) is not None or text.lower() in ("nan", "inf", "-inf")
        if not is_number or (tag == "scaling_factor" and float(text) == 0):
            raise DecodeError(f"{name} has {tag} {quoted(text)}, which is not supported")


def decode(data: bytes, label_data: bytes, name: str) -> tuple[np.ndarray, LabelFacts]:
    """Decode a product; in reals the label's special constants (no data, saturated) become NaN.

    Returns:
        The pixels (lines, line_samples), integers or float32, in native byte order; and the facts
        of the label.

    Raises:
        DecodeError: The files are not a readable image; a subclass may say why.
    """
    label = read_label(label_data, name)
    check_size(label.facts, name)
    if label.end > len(data):
        raise TruncatedError(
            f"{name} has {len(data)} bytes but its label needs {label.end}; fetch it again"
        )
    if (
        label.md5
        and MD5.fullmatch(label.md5)
        and hashlib.md5(data, usedforsecurity=False).hexdigest() != label.md5.lower()
    ):
        raise DamagedError(f"{name} does not have the MD5 checksum in its label; fetch it again")
    pixels = _read_pixels(data, label_data, name)
    if pixels.shape != (label.facts.lines, label.facts.line_samples):
        raise DecodeError(f"{name} has an image of a different shape than its label says")
    native = to_native_pixels(pixels, name, label.special_constants)
    check_not_blank(native, name, label.special_constants)
    return native, label.facts


def _read_pixels(data: bytes, label_data: bytes, name: str) -> np.ndarray:
    """Write label and data into a temporary folder, because pds4_tools reads only files.

    It reads the file of the first `file_name` anywhere in the description of a file, wherever that
    is. So its label is made here: it has the image alone, and the name of the data written here.
    """
    _, image = _find_image(parse_xml(label_data, name), name)
    if image.tag != f"{{{NAMESPACE}}}{_tag(image)}":
        raise DecodeError(
            f"{name} has a label that is not in the namespace of PDS4; check the label"
        )
    with tempfile.TemporaryDirectory(prefix="mernet-pds4-") as folder:
        label_path, data_path = Path(folder, "label.xml"), Path(folder, "pixels")
        label_path.write_bytes(ElementTree.tostring(_label_of(image, data_path.name)))
        data_path.write_bytes(data)
        try:
            # A label's scaling factor may cause overflows.
            with READING, _restore_exception_hook(), np.errstate(over="ignore", invalid="ignore"):
                return np.array(pds4_tools.read(str(label_path), lazy_load=True)[0].data)
        except PDS4_TOOLS_ERRORS as error:
            raise DecodeError(
                f"{name} cannot be read as a PDS4 image: {printable(error)}"
            ) from error


def _label_of(image: Element, file_name: str) -> Element:
    """Return a label that describes one image, in a file beside it."""
    root = Element(f"{{{NAMESPACE}}}Product_Observational")
    area = SubElement(root, f"{{{NAMESPACE}}}File_Area_Observational")
    file = SubElement(area, f"{{{NAMESPACE}}}File")
    SubElement(file, f"{{{NAMESPACE}}}file_name").text = file_name
    area.append(image)
    return root


@contextlib.contextmanager
def _restore_exception_hook() -> Iterator[None]:
    """Restore the hook for uncaught exceptions, which pds4_tools replaces."""
    hook = sys.excepthook
    try:
        yield
    finally:
        sys.excepthook = hook


def _read_facts(root: Element, lines: int, line_samples: int) -> LabelFacts:
    """Return the facts that are used, with any namespace: mission dictionaries differ in theirs."""
    identifier = _text_at(root, "{*}Identification_Area/{*}logical_identifier")
    sols = (_text_at(root, f".//{{*}}{tag}") for tag in ("sol_number", "planet_day_number"))
    return LabelFacts(
        lines=lines,
        line_samples=line_samples,
        product_id=identifier and identifier.rpartition(":")[2].upper(),
        data_set_id=identifier and identifier.rpartition(":")[0],
        sol=counter_or_none(next((sol for sol in sols if sol), None)),
        site=None,
        drive=None,
        start_time=time_or_none(_text_at(root, ".//{*}start_date_time")),
        local_solar_time=solar_time_or_none(root.findtext(".//{*}local_true_solar_time")),
        filter_name=_text_at(root, ".//{*}filter_name"),
        sample_bit_mask=None,
        missing_share=_missing_share(root, lines * line_samples),
    )


def _missing_share(root: Element, pixels: int) -> float | None:
    """Return the share of pixels that were not received, None if no count is known."""
    expected, received, errors = (
        counter_or_none(_text_at(root, f".//{{*}}{tag}"))
        for tag in ("expected_packets", "received_packets", "error_pixels")
    )
    shares = [] if errors is None else [errors / pixels]
    if expected and received is not None:
        shares.append(1 - received / expected)
    return min(1.0, max(0.0, *shares)) if shares else None


def _shape(image: Element, name: str) -> tuple[int, int]:
    """Return lines and samples: the axes by sequence number; the last one is the fastest."""
    axes = sorted(
        (
            _whole_number(axis, "{*}sequence_number", name, at_least=1),
            _whole_number(axis, "{*}elements", name, at_least=1),
        )
        for axis in image.iterfind("{*}Axis_Array")
    )
    if [number for number, _ in axes] != [1, 2]:
        raise DecodeError(f"{name} has an image with {len(axes)} axes instead of 2")
    return axes[0][1], axes[1][1]


def _file_name(area: Element, name: str) -> str:
    """Return the name of the data file, which must be in the label's folder."""
    file_name = area.findtext("{*}File/{*}file_name", "").strip()
    if not is_plain_file_name(file_name):
        raise DecodeError(
            f"{name} names {printable(repr(file_name))} as data file, not a plain file name"
        )
    return file_name


def _special_constants(image: Element) -> tuple[float, ...]:
    """Return the pixel values that are not measurements."""
    constants = image.find("{*}Special_Constants")
    values = [] if constants is None else [constant.text or "" for constant in constants]
    return tuple(float(value) for value in values if NUMBER.fullmatch(value.strip()))


def _whole_number(parent: Element, path: str, name: str, *, at_least: int) -> int:
    """Return a whole number that the label must have, which the standard writes in digits."""
    text = _text_at(parent, path) or ""
    if not COUNT.fullmatch(text) or int(text) < at_least:
        given = f" ({quoted(text, 40)})" if text else ""
        raise DecodeError(f"{name} has no usable {path.rpartition('}')[2]}{given}")
    return int(text)


def _text_at(parent: Element, path: str) -> str | None:
    """Return the text of the first element at a path, None if it is absent or unknown."""
    return text_or_none(parent.findtext(path))


def _tag(element: Element) -> str:
    """Return an element's name without its namespace."""
    return element.tag.rpartition("}")[2]
