"""One classifier in one safetensors file: weights, and a header with all else that matters."""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, JsonValue, ValidationError, field_validator, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from model.calibration import Platt
from model.chain import ChainHead, ChainSettings
from model.classes import CODES
from model.errors import CheckpointError, ModelError

if TYPE_CHECKING:
    from model.backbone import Backbone

FORMAT_VERSION = 1
HEADER_KEY = "mernet"
BACKBONE_PREFIX = "backbone."
CHAIN_TENSORS = ("chain.weight", "chain.label_weight", "chain.bias")

StorageType = Literal["float32", "float16"]


class Header(BaseModel, frozen=True, extra="forbid"):
    """What a checkpoint says about itself; kept as JSON in the file's metadata.

    `input_size` is in pixels, `threshold` is the probability that a published class exceeds,
    `training` is free-form, `data_set_hash` names the labelled images that were learned from.
    """

    format_version: Literal[1] = 1
    name: Annotated[str, Field(min_length=1, max_length=100)]
    classes: tuple[str, ...] = CODES
    backbone: str
    input_size: Annotated[int, Field(ge=32, le=1024)]
    chain: ChainSettings = ChainSettings()
    calibration: Platt
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.9
    training: dict[str, JsonValue] = {}
    data_set_hash: str

    @field_validator("classes")
    @classmethod
    def _classes_are_ours(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if classes != CODES:
            raise ValueError(f"must be the {len(CODES)} codes in chain order, {' '.join(CODES)}")
        return classes

    @model_validator(mode="after")
    def _one_calibration_a_class(self) -> "Header":
        sizes = (len(self.calibration.temperature), len(self.calibration.bias))
        if sizes != (len(self.classes),) * 2:
            raise ValueError(f"calibration must have {len(self.classes)} temperatures and biases")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A loaded checkpoint: header, weights of the backbone as stored, and the chain's head."""

    header: Header
    backbone: Mapping[str, NDArray[np.floating]]
    chain: ChainHead


def save(
    path: Path,
    header: Header,
    backbone: "Backbone",
    chain: ChainHead,
    storage: StorageType = "float32",
) -> None:
    """Write a checkpoint; the file appears whole or not at all.

    `storage` is the type of the backbone's numbers in the file: float16 halves it (VGG-16: 0.54 to
    0.27 GB) at a relative rounding of 5e-4. The chain's stay float64.

    Raises CheckpointError where the header names another backbone.
    """
    if header.backbone != backbone.name:
        raise CheckpointError(
            f"the header says backbone {header.backbone!r}, the weights are of {backbone.name!r}"
        )
    tensors: dict[str, NDArray[np.generic]] = {
        BACKBONE_PREFIX + key: value.cpu().numpy().astype(storage, order="C")
        for key, value in backbone.network.state_dict().items()
    }
    parts = (chain.weight, chain.label_weight, chain.bias)
    tensors |= {
        key: np.ascontiguousarray(part) for key, part in zip(CHAIN_TENSORS, parts, strict=True)
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        unfinished = Path(folder) / path.name
        unfinished.touch()
        ordinary_mode = unfinished.stat().st_mode
        save_file(tensors, unfinished, metadata={HEADER_KEY: header.model_dump_json()})
        unfinished.chmod(ordinary_mode)  # safetensors leaves it readable by its owner only
        os.replace(unfinished, path)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint and check all but the backbone's weights, which `backbone.restore` checks.

    Raises CheckpointError where the file is missing, damaged, of another kind or version, holds
    other classes or tensors, or a chain of wrong shapes or numbers.
    """
    header = read_header(path)
    with safe_open(path, framework="numpy") as file:
        tensors: dict[str, Any] = {
            key: _read_tensor(path, file, key)
            for key in file.keys()  # noqa: SIM118
        }
    missing = [key for key in CHAIN_TENSORS if key not in tensors]
    if missing:
        raise CheckpointError(f"{path} lacks the tensor {missing[0]!r}; write the checkpoint again")
    try:
        chain = ChainHead(*(tensors.pop(key) for key in CHAIN_TENSORS))
    except ModelError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if len(chain.bias) != len(header.classes):
        raise CheckpointError(f"{path} has a chain of {len(chain.bias)} classes, not 25")
    backbone = {key.removeprefix(BACKBONE_PREFIX): value for key, value in tensors.items()}
    return Checkpoint(header, backbone, chain)


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


def _read_tensor(path: Path, file: Any, key: str) -> NDArray[np.floating]:
    allowed = ("F64",) if key in CHAIN_TENSORS else ("F32", "F16")
    if key not in CHAIN_TENSORS and not key.startswith(BACKBONE_PREFIX):
        raise CheckpointError(f"{path} holds an unknown tensor {key!r}; write the checkpoint again")
    stored = file.get_slice(key).get_dtype()
    if stored not in allowed:
        raise CheckpointError(
            f"{path}: tensor {key!r} is {stored}, it must be {' or '.join(allowed)}"
        )
    tensor: NDArray[np.floating] = file.get_tensor(key)
    return tensor
