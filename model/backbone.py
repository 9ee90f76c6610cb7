"""The backbone: a network without its last layer, which computes features of renderings."""

import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from mernet.model.architecture_name import ArchitectureName
from mernet.model.device import is_out_of_device_memory
from mernet.model.errors import BackboneError, OutOfDeviceMemoryError, WeightsDownloadError
from mernet.model.torchvision_compat import import_torchvision_models
from mernet.printable import printable, quoted
from mernet.suggestions import did_you_mean

# Of the images on which the pretrained weights were trained, per colour channel.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

BATCH_SIZES = {"cuda": 64, "cpu": 8}
"""Default batch size by kind of device."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """How to construct a network (N, 3, S, S) -> (N, feature_count), without its weights.

    Attributes:
        construct: Builds the network.
        feature_count: Number of features per image.
        last_layer: Name prefix of the last layer's tensors, which a torchvision state dict has and
            this network does not.
        input_size: The only S, in pixels, that the network accepts; None if it accepts any.
    """

    construct: Callable[[], nn.Module]
    feature_count: int
    last_layer: str | None = None
    input_size: int | None = None


@dataclass(frozen=True, slots=True)
class Backbone:
    """A network with weights, in evaluation mode, and the name of its architecture."""

    name: str
    network: nn.Module
    feature_count: int


def _vgg16() -> nn.Module:
    vgg = import_torchvision_models().vgg16(weights=None)
    vgg.classifier = vgg.classifier[:-1]  # ends at the 4,096 features
    network: nn.Module = vgg
    return network


def _swin_v2_b() -> nn.Module:
    swin: nn.Module = import_torchvision_models().swin_v2_b(weights=None)
    swin.head = nn.Identity()
    return swin


def _convnext_base() -> nn.Module:
    convnext = import_torchvision_models().convnext_base(weights=None)
    convnext.classifier = convnext.classifier[:-1]  # keeps the norm before the last layer
    network: nn.Module = convnext
    return network


def _vit_l_16() -> nn.Module:
    vit: nn.Module = import_torchvision_models().vit_l_16(weights=None)
    vit.heads = nn.Identity()
    return vit


# All but the vision transformer accept any input size.
ARCHITECTURES: dict[str, Architecture] = {
    ArchitectureName.VGG16: Architecture(_vgg16, 4096, last_layer="classifier.6."),
    ArchitectureName.SWIN_V2_B: Architecture(_swin_v2_b, 1024, last_layer="head."),
    ArchitectureName.CONVNEXT_BASE: Architecture(_convnext_base, 1024, last_layer="classifier.2."),
    ArchitectureName.VIT_L_16: Architecture(_vit_l_16, 1024, last_layer="heads.", input_size=224),
}


def build_backbone(
    name: str = "vgg16",
    seed: int | None = None,
    weights_path: Path | None = None,
    imagenet: bool = False,
) -> Backbone:
    """Create a backbone with random weights, weights from a file, or ImageNet weights.

    Random weights are torchvision's own initialisation; torch's random state on the CPU stays
    unchanged. With them, VGG-16's features still vary between real pictures (standard deviation: a
    third of the mean), so that a head can be trained on them.

    Args:
        name: Name of an architecture.
        seed: Seed of random weights.
        weights_path: A torchvision state dict (.pth, loaded without running any pickled code), or
            the same tensors in a .safetensors file. A last layer in the file is ignored.
        imagenet: Use torchvision's ImageNet weights.

    Raises:
        BackboneError: The name is unknown, not exactly one kind of weights was given, or the
            weights cannot be read or do not fit the architecture.
        WeightsDownloadError: The ImageNet weights cannot be downloaded.
    """
    if (seed is not None) + (weights_path is not None) + imagenet != 1:
        raise BackboneError(
            "give exactly one of: a seed for random weights, a weights file, ImageNet weights"
        )
    architecture = _architecture(name)
    if imagenet:
        return restore_backbone(name, imagenet_weights(name))
    if weights_path is not None:
        return restore_backbone(
            name, _without_last_layer(architecture, _read_weights(weights_path))
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = architecture.construct()
    return Backbone(name, _for_inference(network), architecture.feature_count)


def imagenet_weights(name: str) -> dict[str, torch.Tensor]:
    """Return torchvision's IMAGENET1K_V1 weights, downloaded once into torch's cache folder.

    Raises:
        WeightsDownloadError: The weights cannot be downloaded or read.
    """
    architecture = _architecture(name)
    weights = import_torchvision_models().get_model_weights(name).IMAGENET1K_V1
    try:
        with redirect_stdout(sys.stderr):  # torch reports a download on standard output
            tensors = weights.get_state_dict(
                progress=True, check_hash=True, map_location="cpu", weights_only=True
            )
    except MemoryError:
        raise
    except Exception as error:  # as of `_read_weights`, if the file in the cache is damaged
        cache = Path(torch.hub.get_dir()) / "checkpoints"
        raise WeightsDownloadError(
            f"cannot download the ImageNet weights of {name} ({printable(error)}); download "
            f"{weights.url} on another machine and copy it into {cache}"
        ) from error
    return _without_last_layer(architecture, tensors)


def check_input_size(name: str, size: int) -> None:
    """Check that a backbone accepts pictures of this size, in pixels.

    Raises:
        BackboneError: The backbone is unknown or does not accept the size.
    """
    fixed = _architecture(name).input_size
    if fixed not in (None, size):
        raise BackboneError(
            f"{name} accepts pictures of {fixed} pixels only, not {size}; use {fixed}"
        )


def restore_backbone(name: str, tensors: Mapping[str, torch.Tensor]) -> Backbone:
    """Create a backbone with the given weights, stored as float32 (integers keep their type).

    Raises:
        BackboneError: A tensor is missing, unknown, of another shape or not finite.
    """
    architecture = _architecture(name)
    with torch.device("meta"):  # shapes without memory or random numbers
        network = architecture.construct()
    expected = network.state_dict()
    for key in sorted(expected.keys() | tensors.keys()):
        _check_tensor(name, key, expected.get(key), tensors.get(key))
    own_types = {key: value.to(expected[key].dtype) for key, value in tensors.items()}
    network.load_state_dict(own_types, assign=True)
    return Backbone(name, _for_inference(network), architecture.feature_count)


def weights_sha256(backbone: Backbone) -> str:
    """Return the hexadecimal SHA-256 of a backbone's name and weights."""
    digest = hashlib.sha256(backbone.name.encode())
    for tensor in backbone.network.state_dict().values():
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def preprocess(renderings: Sequence[NDArray[np.uint8]], size: int) -> torch.Tensor:
    """Return the network input (N, 3, size, size) float32 for 8-bit grey renderings of any size.

    Each rendering is resized separately (bilinear, antialiased), repeated to three channels and
    normalised with the ImageNet mean and standard deviation.
    """
    return normalise(torch.cat([resize(rendering, size) for rendering in renderings]))


def resize(rendering: NDArray[np.uint8], size: int) -> torch.Tensor:
    """Resize a rendering to (1, 1, size, size) float32 in [0, 1], bilinear, antialiased."""
    grey = torch.tensor(rendering, dtype=torch.float32)[None, None] / 255
    return nn.functional.interpolate(
        grey, size=(size, size), mode="bilinear", antialias=True, align_corners=False
    )


def normalise(grey: torch.Tensor) -> torch.Tensor:
    """Return the network input (N, 3, S, S) for grey pictures (N, 1, S, S) in [0, 1]."""
    mean = torch.tensor(IMAGENET_MEAN, device=grey.device).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=grey.device).view(3, 1, 1)
    return (grey.expand(-1, 3, -1, -1) - mean) / std


def extract_features(
    backbone: Backbone, renderings: Sequence[NDArray[np.uint8]], size: int, batch_size: int = 8
) -> NDArray[np.float32]:
    """Compute features (N, feature_count) float32 of 8-bit grey renderings, resized to size x size.

    Every batch has the same shape, the last one padded with zeros: an image's features do not
    depend on the number of images.
    """
    features = np.empty((len(renderings), backbone.feature_count), dtype=np.float32)
    weight = next(backbone.network.parameters())
    for start in range(0, len(renderings), batch_size):
        images = preprocess(renderings[start : start + batch_size], size)
        batch = torch.zeros(batch_size, 3, size, size)
        batch[: len(images)] = images
        batch = batch.to(weight.device, weight.dtype, memory_format=torch.channels_last)
        output = _forward(backbone.network, batch)
        features[start : start + len(images)] = output[: len(images)].float().cpu().numpy()
    return features


def extract_features_within_memory(
    backbone: Backbone, renderings: Sequence[NDArray[np.uint8]], size: int, batch_size: int
) -> tuple[NDArray[np.float32], int]:
    """Compute features like `extract_features`, halving the batch size until it fits the device.

    When memory runs out, all features are computed again, so that all come from one batch size.

    Returns:
        The features and the batch size that was used.

    Raises:
        OutOfDeviceMemoryError: Even a single image does not fit the device.
    """
    while True:
        try:
            return extract_features(backbone, renderings, size, batch_size), batch_size
        except RuntimeError as error:
            if not is_out_of_device_memory(error):
                raise
            if batch_size == 1:
                raise OutOfDeviceMemoryError(
                    "one image does not fit the device's memory; stop other programs that use the "
                    "device, or use the CPU"
                ) from error
            batch_size //= 2
        torch.cuda.empty_cache()


def _forward(network: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    """Run one forward pass without TF32 and autotuning, so that results are reproducible."""
    flags = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    with torch.inference_mode(), flags:
        output: torch.Tensor = network(batch)
    return output


def _check_tensor(
    name: str, key: str, expected: torch.Tensor | None, tensor: torch.Tensor | None
) -> None:
    remedy = f"use weights of {name} that torchvision or this program wrote"
    if tensor is None:
        raise BackboneError(f"the weights lack the tensor '{printable(key)}'; {remedy}")
    if expected is None:
        raise BackboneError(f"{name} has no tensor '{printable(key)}'; {remedy}")
    if tensor.shape != expected.shape:
        shapes = f"{printable(tuple(tensor.shape))}, not {tuple(expected.shape)}"
        raise BackboneError(f"tensor '{printable(key)}' has shape {shapes}; {remedy}")
    if not torch.isfinite(tensor).all():
        raise BackboneError(f"tensor '{printable(key)}' contains NaN or infinite numbers; {remedy}")


def _architecture(name: str) -> Architecture:
    if name not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise BackboneError(
            f"No backbone is called {quoted(name)}{did_you_mean(name, ARCHITECTURES)} "
            f"Known: {known}."
        )
    return ARCHITECTURES[name]


def _for_inference(network: nn.Module) -> nn.Module:
    # channels_last: 1.3 to 1.4 times as many images a second on a CPU as the default layout.
    laid_out: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return laid_out.eval().requires_grad_(False)


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a state dict from a file."""
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    # A damaged pickle ends in many kinds of errors: IndexError, KeyError, struct.error ...
    except Exception as error:
        raise BackboneError(
            f"cannot read weights from {printable(path)} ({printable(error)}); copy or "
            "download the file again"
        ) from error
    if not isinstance(tensors, Mapping) or not all(
        isinstance(name, str) and torch.is_tensor(tensor) for name, tensor in tensors.items()
    ):
        raise BackboneError(
            f"{printable(path)} is not a state dict; save `network.state_dict()` alone"
        )
    return dict(tensors)


def _without_last_layer(
    architecture: Architecture, tensors: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    prefix = architecture.last_layer
    return {
        key: value for key, value in tensors.items() if prefix is None or not key.startswith(prefix)
    }
