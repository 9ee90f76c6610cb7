"""Checkpoints: a classifier in one safetensors file, with weights and a descriptive header."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mernet.atomic_file import replacing_file
from mernet.model.calibration import Platt
from mernet.model.chain import ChainHead, ChainSettings
from mernet.model.classes import CODES
from mernet.model.errors import CheckpointError, ModelError, NotACheckpoint
from mernet.model.paths import url_instead
from mernet.model.product_types import learned_product_types
from mernet.model.softmax import SoftmaxHead
from mernet.printable import printable

if TYPE_CHECKING:
    from mernet.model.backbone import Backbone

SHOWN_FILES = 3

FORMAT_VERSION = 1
HEADER_KEY = "mernet"
BACKBONE_PREFIX = "backbone."

StorageType = Literal["float32", "float16"]
Head = ChainHead | SoftmaxHead


class HeadKind(StrEnum):
    """The head after the backbone: a classifier chain, independent classes, or exactly one class.

    Independent classes (binary relevance) are stored as a chain without label weights.
    """

    CHAIN = "chain"
    INDEPENDENT = "independent"
    SOFTMAX = "softmax"


CHAIN_TENSORS = ("chain.weight", "chain.label_weight", "chain.bias")
HEAD_TENSORS = {
    HeadKind.CHAIN: CHAIN_TENSORS,
    HeadKind.INDEPENDENT: CHAIN_TENSORS,
    HeadKind.SOFTMAX: ("softmax.weight", "softmax.bias"),
}
CONTROL_TENSORS = ("control.weight", "control.bias")


MAX_FILE_BYTES = 8 * 1024**3  # the largest backbone known has 1.2 GB
MAX_HEADER_BYTES = 8 * 1024**2  # a checkpoint of a thousand classes has under 1 MB
MAX_CLASSES = 1000
MAX_DRAWN_NUMBERS = 2**24
"""Samples times classes of a chain: its table of random numbers has 128 MB then."""


def _check_printable(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise ValueError("must be printable text")
    return text


PrintableText = Annotated[
    str, Field(min_length=1, max_length=100), AfterValidator(_check_printable)
]
ClassCode = PrintableText


class Header(BaseModel, frozen=True, extra="forbid"):
    """A checkpoint's description of itself, stored as JSON in the file's metadata.

    Attributes:
        format_version: Version of the checkpoint format.
        name: Name of the classifier.
        classes: Class codes in the head's order. Only a classifier with MERNet's 25 classes in
            chain order can publish; others can be evaluated on their own data set.
        backbone: Name of the backbone's architecture.
        input_size: Side of the network input, in pixels.
        head: Kind of the head.
        chain: How marginals are computed.
        calibration: Calibration of the head.
        control: Calibration of the control head; None if the checkpoint has none.
        threshold: A class is published if its probability is greater than this.
        training: Record of the training; free-form.
        data_set_hash: Digest of the data set that the classifier was trained on.
    """

    format_version: Literal[1] = 1
    name: PrintableText
    classes: Annotated[tuple[ClassCode, ...], Field(min_length=2, max_length=MAX_CLASSES)] = CODES
    backbone: PrintableText
    input_size: Annotated[int, Field(ge=32, le=1024)]
    head: HeadKind = HeadKind.CHAIN
    chain: ChainSettings = ChainSettings()
    calibration: Platt
    control: Platt | None = None
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.9
    training: dict[str, JsonValue] = {}
    data_set_hash: Annotated[str, Field(max_length=200), AfterValidator(_check_printable)]

    @property
    def product_types(self) -> frozenset[str]:
        """The types of the products that were learned; empty if the record does not say."""
        return learned_product_types(self.training)

    @field_validator("classes")
    @classmethod
    def _check_classes_are_unique(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(classes)) < len(classes):
            raise ValueError("must not contain a class twice")
        return classes

    @model_validator(mode="after")
    def _check_drawn_numbers(self) -> "Header":
        if self.chain.samples * len(self.classes) > MAX_DRAWN_NUMBERS:
            raise ValueError("has too many samples for its number of classes")
        return self

    @model_validator(mode="after")
    def _check_calibration_sizes(self) -> "Header":
        for platt in filter(None, (self.calibration, self.control)):
            if {len(platt.temperature), len(platt.bias)} != {len(self.classes)}:
                raise ValueError(
                    f"calibration must have {len(self.classes)} temperatures and biases"
                )
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A loaded checkpoint.

    Attributes:
        header: The header.
        backbone: The backbone's tensors as stored.
        head: The head.
        control: The head of independent classes (a chain without label weights) that was trained
            beside `head` for comparison; None if there is none.
    """

    header: Header
    backbone: Mapping[str, NDArray[np.generic]]
    head: Head
    control: ChainHead | None


def save(
    path: Path,
    header: Header,
    backbone: "Backbone",
    head: Head,
    control: ChainHead | None = None,
    storage: StorageType = "float32",
) -> None:
    """Write a checkpoint; the file appears complete or not at all.

    Args:
        path: File to write; its folder is created if necessary.
        header: Description to store.
        backbone: Network to store.
        head: Head to store.
        control: Control head, for a header with its calibration.
        storage: Type of the backbone's floating-point tensors in the file. float16 halves the file
            (VGG-16: from 0.54 to 0.27 GB) at a relative rounding error of 5e-4. The heads are
            always float64; integer tensors keep their type.

    Raises:
        CheckpointError: The header does not match the backbone or the heads, or the disk is full.
    """
    if header.backbone != backbone.name:
        raise CheckpointError(
            f"the header names the backbone {header.backbone!r}, but the weights are of "
            f"{backbone.name!r}; give matching ones"
        )
    if (header.head is HeadKind.SOFTMAX) != isinstance(head, SoftmaxHead):
        raise CheckpointError(
            f"the header names the head {header.head}, but another kind was given"
        )
    if (header.control is None) != (control is None):
        raise CheckpointError("give both a control head and its calibration, or neither")
    tensors = {
        BACKBONE_PREFIX + key: _in_storage_type(value.cpu().numpy(), storage)
        for key, value in backbone.network.state_dict().items()
    }
    tensors |= zip(HEAD_TENSORS[header.head], _head_tensors(head), strict=True)
    if control is not None:
        tensors |= zip(CONTROL_TENSORS, (control.weight, control.bias), strict=True)
    tensors = {key: np.ascontiguousarray(tensor) for key, tensor in tensors.items()}
    with replacing_file(path) as unfinished:
        unfinished.touch()
        ordinary_mode = unfinished.stat().st_mode
        try:
            save_file(tensors, unfinished, metadata={HEADER_KEY: header.model_dump_json()})
        except SafetensorError as error:  # raised if the disk is full
            raise CheckpointError(f"cannot write {path} ({error}); free disk space") from error
        unfinished.chmod(ordinary_mode)  # safetensors makes it readable by its owner only


def load(path: Path) -> Checkpoint:
    """Read a checkpoint and check everything but the backbone's tensors.

    `restore_backbone` checks those.

    Raises:
        CheckpointError: The file is missing, damaged, or of another kind or version, or its
            tensors do not match its header.
    """
    header = read_header(path)
    try:
        with safe_open(path, framework="numpy") as file:
            tensors: dict[str, Any] = {
                key: _read_tensor(path, file, key)
                for key in file.keys()  # noqa: SIM118
            }
    except (SafetensorError, OSError, ValueError, OverflowError) as error:
        raise _incomplete(path, error) from error
    head = _build_head(path, header.head, _pop_tensors(path, tensors, HEAD_TENSORS[header.head]))
    control = None
    if header.control is not None:
        weight, bias = _pop_tensors(path, tensors, CONTROL_TENSORS)
        no_labels = np.zeros((len(header.classes),) * 2)
        control = _build_head(path, HeadKind.CHAIN, [weight, no_labels, bias])
    for each in filter(None, (head, control)):
        if len(each.bias) != len(header.classes):
            raise CheckpointError(
                f"{printable(path)} has a head of {len(each.bias)} classes but "
                f"{len(header.classes)} class codes; write the checkpoint again"
            )
    unknown = [key for key in tensors if not key.startswith(BACKBONE_PREFIX)]
    if unknown:
        raise CheckpointError(
            f"{printable(path)} contains the unknown tensor '{printable(unknown[0])}'; write the "
            "checkpoint again"
        )
    backbone = {key.removeprefix(BACKBONE_PREFIX): value for key, value in tensors.items()}
    return Checkpoint(header, backbone, head, control)


def read_header(path: Path) -> Header:
    """Read the header of a checkpoint without its weights.

    Raises:
        CheckpointError: The file is missing, damaged, or of another kind or version.
    """
    try:
        if reason := _why_not_a_file(path):
            raise NotACheckpoint(f"{printable(url_instead(path) or path)} {reason}")
        _check_sizes(path)
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError, OverflowError, RecursionError) as error:
        if reason := _describe_other_kind(path):
            raise NotACheckpoint(
                f"{printable(path)} {reason}; give a checkpoint (.safetensors)"
            ) from error
        raise _incomplete(path, error) from error
    if HEADER_KEY not in metadata:
        raise CheckpointError(
            f"{printable(path)} has no MERNet header; give a checkpoint that this program wrote"
        )
    return _parse_header(path, metadata[HEADER_KEY])


def _why_not_a_file(path: Path) -> str | None:
    """Return why a path leads to no file, and what to give instead; None if it is one."""
    if path.is_file():
        return None
    if url_instead(path):
        return "is a URL; download the file and give its path"
    if path.is_dir():
        names = sorted(each.name for each in path.glob("*.safetensors"))[:SHOWN_FILES]
        return "is a folder; give " + (
            f"a file in it: {printable(', '.join(names))}" if names else "a file"
        )
    problem = "is not a file" if path.exists() else "does not exist"
    return f"{problem}; give the path of a checkpoint (.safetensors)"


def _describe_other_kind(path: Path) -> str | None:
    """Return what a file is by its first bytes, None if these could belong to a checkpoint."""
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except (OSError, ValueError):
        return None
    if not start:
        return "is empty"
    if start.startswith(b"PK\x03\x04"):
        return "is a zip archive, perhaps PyTorch weights (.pth), which may run code when loaded"
    if start.startswith(b"\x80"):
        return "is a pickle, perhaps PyTorch weights (.pth), which may run code when loaded"
    if start.lstrip()[:1] == b"<":
        return "is a web page or another XML file"
    if start.isascii() and b"\0" not in start:
        return "is a text file"
    return None


def _check_sizes(path: Path) -> None:
    """Check the header of the safetensors file, which its library would read at any size.

    Raises:
        ValueError: The header or the file is too large or too small, or a name is there twice.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= min(MAX_HEADER_BYTES, size - 8):
            raise ValueError(f"its header cannot have {length} bytes")
        if size > MAX_FILE_BYTES:
            raise ValueError(f"it has more than {MAX_FILE_BYTES} bytes")
        _read_json(file.read(length).decode())


def _read_json(text: str) -> Any:
    """Return JSON without duplicate names and numbers that are none.

    Raises:
        ValueError: The text is something else.
        RecursionError: It is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {printable(twice)} is there twice")
    return unique


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")


def _incomplete(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{printable(path)} is not a complete safetensors file ({printable(error)}); copy or write "
        "it again"
    )


def sha256_of(path: Path) -> str:
    """Return the hex SHA-256 of a file, which identifies a classifier; the file is read in pieces.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parse_header(path: Path, text: str) -> Header:
    try:
        fields = _read_json(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{printable(path)} has a header that is not JSON ({printable(error)}); write the "
            "checkpoint again"
        ) from error
    version = fields.get("format_version") if isinstance(fields, dict) else None
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{printable(path)} has checkpoint format {printable(repr(version), 40)}, but this "
            f"program reads format {FORMAT_VERSION}; use the program version that wrote it"
        )
    try:
        return Header.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "header"
        raise CheckpointError(
            f"{printable(path)}: header field {printable(field)}: {_reason(first)}; write "
            "the checkpoint again"
        ) from error


def _reason(fault: ErrorDetails) -> str:
    """Return what is wrong with a field, without the words that Pydantic puts in front."""
    return printable(fault["msg"].removeprefix("Value error, "))


def _in_storage_type(tensor: NDArray[np.generic], storage: StorageType) -> NDArray[np.generic]:
    """Return a backbone tensor in the type it is stored in; integer tensors are indices."""
    return tensor.astype(storage) if np.issubdtype(tensor.dtype, np.floating) else tensor


def _head_tensors(head: Head) -> tuple[NDArray[np.float64], ...]:
    if isinstance(head, SoftmaxHead):
        return head.weight, head.bias
    return head.weight, head.label_weight, head.bias


def _build_head(path: Path, kind: HeadKind, parts: list[NDArray[np.float64]]) -> Any:
    try:
        return SoftmaxHead(*parts) if kind is HeadKind.SOFTMAX else ChainHead(*parts)
    except ModelError as error:
        raise CheckpointError(f"{printable(path)}: {error}") from error


def _pop_tensors(path: Path, tensors: dict[str, Any], names: tuple[str, ...]) -> list[Any]:
    """Remove the named tensors from `tensors` and return them."""
    missing = [name for name in names if name not in tensors]
    if missing:
        raise CheckpointError(
            f"{printable(path)} lacks the tensor {missing[0]!r}; write the checkpoint again"
        )
    return [tensors.pop(name) for name in names]


def _read_tensor(path: Path, file: Any, key: str) -> NDArray[np.generic]:
    allowed = ("F32", "F16", "I64") if key.startswith(BACKBONE_PREFIX) else ("F64",)
    stored = file.get_slice(key).get_dtype()
    if stored not in allowed:
        raise CheckpointError(
            f"{printable(path)}: tensor '{printable(key)}' has type {printable(stored)}, not "
            f"{' or '.join(allowed)}; write the checkpoint again"
        )
    tensor: NDArray[np.generic] = file.get_tensor(key)
    return tensor
