"""A loaded classifier: computes a calibrated marginal probability for each class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray

from mernet.model import checkpoint
from mernet.model.backbone import (
    BATCH_SIZES,
    Backbone,
    check_input_size,
    extract_features_within_memory,
    restore_backbone,
)
from mernet.model.chain import ChainHead
from mernet.model.checkpoint import Checkpoint, Head, Header
from mernet.model.device import device_faults
from mernet.model.errors import (
    BackboneError,
    CheckpointError,
    DeviceError,
    ModelError,
    RenderingError,
    ScoresError,
)
from mernet.model.pictures import MIN_SIDE
from mernet.printable import printable

Precision = Literal["float32", "bfloat16"]


class Classifier:
    """One checkpoint on one device.

    A probability depends on the rendering and the checkpoint alone, bit for bit, while device,
    precision and batch size stay the same; another batch size may change it by about 1e-6.

    Attributes:
        header: The checkpoint's header.
        head: The head.
        control: The control head; None if the checkpoint has none.
        sha256: Hex SHA-256 of the checkpoint file.
        batch_size: Images per forward pass; halved if the device runs out of memory.
    """

    def __init__(
        self,
        header: Header,
        backbone: Backbone,
        head: Head,
        control: ChainHead | None,
        sha256: str,
        batch_size: int,
    ) -> None:
        self.header = header
        self.head = head
        self.control = control
        self.sha256 = sha256
        self.batch_size = batch_size
        self._backbone = backbone

    @classmethod
    def load(
        cls,
        path: Path,
        device: str | None = None,
        batch_size: int | None = None,
        threads: int | None = None,
        precision: Precision = "float32",
    ) -> Self:
        """Load a checkpoint onto a device.

        Args:
            path: The checkpoint (.safetensors).
            device: "cpu", "cuda" or "cuda:N"; by default CUDA if available, otherwise the CPU.
            batch_size: Images per forward pass; by default 64 on CUDA and 8 on a CPU.
            threads: Number of torch's CPU threads; it is set for the whole process.
            precision: Precision of the backbone; bfloat16 is faster on some devices and changes
                results slightly.

        Raises:
            CheckpointError: The file cannot be read, or its weights do not fit.
            DeviceError: The device is not available, or failed.
            ModelError: A number is not positive.
        """
        target = select_device(device)
        for count in (batch_size, threads):
            if count is not None and count < 1:
                raise ModelError(f"batch size and threads must be at least 1, not {count}")
        if threads is not None:
            torch.set_num_threads(threads)
        loaded = checkpoint.load(path)
        backbone = _restore_backbone(path, loaded)
        with device_faults():
            backbone.network.to(target, getattr(torch, precision))
        size = batch_size or BATCH_SIZES.get(target.type, BATCH_SIZES["cpu"])
        sha256 = checkpoint.sha256_of(path)
        return cls(loaded.header, backbone, loaded.head, loaded.control, sha256, size)

    @property
    def threshold(self) -> np.float32:
        """The threshold as float32: a class with a greater probability is published."""
        return np.float32(self.header.threshold)

    def probabilities(self, renderings: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Compute calibrated marginal probabilities of grey renderings.

        Args:
            renderings: 2-D uint8 arrays of any sizes, at least 8 x 8 pixels.

        Returns:
            (N, K) float32, classes in the header's order.

        Raises:
            RenderingError: A rendering is something else; the message names its index.
            DeviceError: The device failed; `OutOfDeviceMemoryError` if even a single image does not
                fit it.
            ScoresError: A result is no probability.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # checked below
            marginals = self.head.marginals(self.features(renderings), self.header.chain)
            scores = self.header.calibration.apply(marginals).astype(np.float32)
        # Written so that NaN, which compares as False, is refused.
        if not ((scores >= 0) & (scores <= 1)).all():
            raise ScoresError(
                f"the classifier {printable(self.header.name)} computes numbers that are no "
                "probabilities; train it again, or use another checkpoint"
            )
        return scores

    def check_scores(self) -> None:
        """Classify a picture of all grey levels, to find out whether the weights can be used.

        Raises:
            ScoresError: A result is no probability.
        """
        levels = np.arange(256, dtype=np.uint8)
        self.probabilities([np.add.outer(levels, levels)])

    def features(self, renderings: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Compute the features (N, F) float32 that the head uses.

        Takes and raises the same as `probabilities`. All features come from one batch size: if
        memory runs out, all are computed again with half the batch size.
        """
        for index, rendering in enumerate(renderings):
            _check_rendering(rendering, index)
        with device_faults():
            features, self.batch_size = extract_features_within_memory(
                self._backbone, renderings, self.header.input_size, self.batch_size
            )
        return features


def select_device(name: str | None) -> torch.device:
    """Return the device of that name; by default CUDA if available, else the CPU.

    Raises:
        DeviceError: The device is not available.
        ModelError: The name is unknown.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise ModelError(f"unknown device '{printable(name)}'; use cpu, cuda or cuda:N") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"CUDA device {device} is not available; use cpu, or check nvidia-smi")
    return device


def _restore_backbone(path: Path, loaded: Checkpoint) -> Backbone:
    tensors = {key: torch.from_numpy(value) for key, value in loaded.backbone.items()}
    try:
        check_input_size(loaded.header.backbone, loaded.header.input_size)
        backbone = restore_backbone(loaded.header.backbone, tensors)
    except BackboneError as error:
        raise CheckpointError(f"{printable(path)}: {error}") from error
    features = loaded.head.weight.shape[1]
    if features != backbone.feature_count:
        raise CheckpointError(
            f"{printable(path)}: the head expects {features} features, but {backbone.name} "
            f"computes {backbone.feature_count}; write the checkpoint again"
        )
    return backbone


def _check_rendering(rendering: NDArray[np.uint8], index: int) -> None:
    if not isinstance(rendering, np.ndarray) or rendering.dtype != np.uint8:
        kind = getattr(rendering, "dtype", type(rendering).__name__)
        raise RenderingError(f"rendering {index} is {kind}; give a uint8 array")
    if rendering.ndim != 2 or min(rendering.shape) < MIN_SIDE:
        raise RenderingError(
            f"rendering {index} has shape {rendering.shape}; give two dimensions of at least "
            f"{MIN_SIDE} pixels each"
        )
