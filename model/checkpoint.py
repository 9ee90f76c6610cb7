"""One classifier in one safetensors file: weights, and a header with all else that matters."""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, JsonValue, ValidationError, field_validator, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mernet.model.calibration import Platt
from mernet.model.chain import ChainHead, ChainSettings
from mernet.model.classes import CODES
from mernet.model.errors import CheckpointError, ModelError
from mernet.model.softmax import SoftmaxHead

if TYPE_CHECKING:
    from mernet.model.backbone import Backbone

FORMAT_VERSION = 1
HEADER_KEY = "mernet"
BACKBONE_PREFIX = "backbone."

StorageType = Literal["float32", "float16"]
Head = ChainHead | SoftmaxHead


class HeadKind(StrEnum):
    """What follows the backbone: a classifier chain, independent classes, or one class of K.

    Independent classes (binary relevance) are kept as a chain without label weights.
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


ClassCode = Annotated[str, Field(min_length=1, max_length=100)]


class Header(BaseModel, frozen=True, extra="forbid"):
    """What a checkpoint says about itself; kept as JSON in the file's metadata.

    `classes` are the 25 in chain order where the classifier is to publish; one that only judges
    another data set has that set's. `input_size` is in pixels, `threshold` is the probability that
    a published class exceeds, `control` is the calibration of the control head, None where the file
    has none, `training` is free-form, `data_set_hash` names the labelled images learned from.
    """

    format_version: Literal[1] = 1
    name: Annotated[str, Field(min_length=1, max_length=100)]
    classes: Annotated[tuple[ClassCode, ...], Field(min_length=2)] = CODES
    backbone: str
    input_size: Annotated[int, Field(ge=32, le=1024)]
    head: HeadKind = HeadKind.CHAIN
    chain: ChainSettings = ChainSettings()
    calibration: Platt
    control: Platt | None = None
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.9
    training: dict[str, JsonValue] = {}
    data_set_hash: str

    @field_validator("classes")
    @classmethod
    def _no_class_twice(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(classes)) < len(classes):
            raise ValueError("must not name a class twice")
        return classes

    @model_validator(mode="after")
    def _one_calibration_a_class(self) -> "Header":
        for platt in filter(None, (self.calibration, self.control)):
            if {len(platt.temperature), len(platt.bias)} != {len(self.classes)}:
                raise ValueError(
                    f"calibration must have {len(self.classes)} temperatures and biases"
                )
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A loaded checkpoint: header, the backbone's tensors as stored, and the heads.

    `control` is the head of independent classes that learned beside `head` for comparison: a chain
    without label weights.
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
    """Write a checkpoint; the file appears whole or not at all.

    `storage` is the type of the backbone's numbers in the file: float16 halves it (VGG-16: 0.54 to
    0.27 GB) at a relative rounding of 5e-4. The heads' stay float64, integers stay integers.

    Raises CheckpointError where the header names another backbone or other heads, and where the
    disk is full.
    """
    if header.backbone != backbone.name:
        raise CheckpointError(
            f"the header says backbone {header.backbone!r}, the weights are of {backbone.name!r}"
        )
    if (header.head is HeadKind.SOFTMAX) != isinstance(head, SoftmaxHead):
        raise CheckpointError(f"the header says head {header.head}, another one was given")
    if (header.control is None) != (control is None):
        raise CheckpointError("give a control head and its calibration, or neither")
    tensors = {
        BACKBONE_PREFIX + key: _stored(value.cpu().numpy(), storage)
        for key, value in backbone.network.state_dict().items()
    }
    tensors |= zip(HEAD_TENSORS[header.head], _parts(head), strict=True)
    if control is not None:
        tensors |= zip(CONTROL_TENSORS, (control.weight, control.bias), strict=True)
    tensors = {key: np.ascontiguousarray(tensor) for key, tensor in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        unfinished = Path(folder) / path.name
        unfinished.touch()
        ordinary_mode = unfinished.stat().st_mode
        try:
            save_file(tensors, unfinished, metadata={HEADER_KEY: header.model_dump_json()})
        except SafetensorError as error:  # what safetensors raises where the disk is full
            raise CheckpointError(f"cannot write {path} ({error}); make space") from error
        unfinished.chmod(ordinary_mode)  # safetensors leaves it readable by its owner only
        os.replace(unfinished, path)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint and check all but the backbone's weights, which `restore_backbone` checks.

    Raises CheckpointError where the file is missing, damaged, of another kind or version, holds
    other classes or tensors, or a chain of wrong shapes or numbers.
    """
    header = read_header(path)
    with safe_open(path, framework="numpy") as file:
        tensors: dict[str, Any] = {
            key: _read_tensor(path, file, key)
            for key in file.keys()  # noqa: SIM118
        }
    head = _head(path, header.head, _taken(path, tensors, HEAD_TENSORS[header.head]))
    control = None
    if header.control is not None:
        weight, bias = _taken(path, tensors, CONTROL_TENSORS)
        control = _head(path, HeadKind.CHAIN, [weight, np.zeros((bias.size, bias.size)), bias])
    for each in filter(None, (head, control)):
        if len(each.bias) != len(header.classes):
            raise CheckpointError(
                f"{path} has a head of {len(each.bias)} classes, not {len(header.classes)}"
            )
    unknown = [key for key in tensors if not key.startswith(BACKBONE_PREFIX)]
    if unknown:
        raise CheckpointError(f"{path} holds an unknown tensor {unknown[0]!r}; write it again")
    backbone = {key.removeprefix(BACKBONE_PREFIX): value for key, value in tensors.items()}
    return Checkpoint(header, backbone, head, control)


def read_header(path: Path) -> Header:
    """The header alone, without reading weights.

    Raises CheckpointError like `load`, weights aside.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}; give the path of a .safetensors file")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is not a whole safetensors file ({error}); copy or write it again"
        ) from error
    if HEADER_KEY not in metadata:
        raise CheckpointError(f"{path} has no MERNet header; give a checkpoint of this program")
    return _parse_header(path, metadata[HEADER_KEY])


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file, read in pieces: what a classifier is known by.

    Raises OSError where the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parse_header(path: Path, text: str) -> Header:
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path} has a header that is not JSON; write it again") from error
    version = fields.get("format_version") if isinstance(fields, dict) else None
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has checkpoint format {version!r}, this program reads {FORMAT_VERSION}; "
            "use the program's version that wrote it"
        )
    try:
        return Header.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "header"
        raise CheckpointError(f"{path}: header field {field}: {first['msg']}") from error


def _stored(tensor: NDArray[np.generic], storage: StorageType) -> NDArray[np.generic]:
    """A tensor of the backbone as the file keeps it; an integer one is an index, no weight."""
    return tensor.astype(storage) if np.issubdtype(tensor.dtype, np.floating) else tensor


def _parts(head: Head) -> tuple[NDArray[np.float64], ...]:
    if isinstance(head, SoftmaxHead):
        return head.weight, head.bias
    return head.weight, head.label_weight, head.bias


def _head(path: Path, kind: HeadKind, parts: list[NDArray[np.float64]]) -> Any:
    try:
        return SoftmaxHead(*parts) if kind is HeadKind.SOFTMAX else ChainHead(*parts)
    except ModelError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _taken(path: Path, tensors: dict[str, Any], names: tuple[str, ...]) -> list[Any]:
    """The named tensors, which are then no longer among `tensors`."""
    missing = [name for name in names if name not in tensors]
    if missing:
        raise CheckpointError(f"{path} lacks the tensor {missing[0]!r}; write the checkpoint again")
    return [tensors.pop(name) for name in names]


def _read_tensor(path: Path, file: Any, key: str) -> NDArray[np.generic]:
    allowed = ("F32", "F16", "I64") if key.startswith(BACKBONE_PREFIX) else ("F64",)
    stored = file.get_slice(key).get_dtype()
    if stored not in allowed:
        raise CheckpointError(
            f"{path}: tensor {key!r} is {stored}, it must be {' or '.join(allowed)}"
        )
    tensor: NDArray[np.generic] = file.get_tensor(key)
    return tensor
