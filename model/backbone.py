"""The convolutional network without its last layer: renderings in, features out."""

import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from mernet.model.errors import BackboneError, OutOfDeviceMemoryError
from mernet.model.torchvision_compat import import_torchvision_models

# Of the ImageNet images that the pretrained weights have seen, per colour channel.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

BATCH_SIZES = {"cuda": 64, "cpu": 8}
"""Images a pass that suit a kind of device."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """How to construct a network (N, 3, S, S) -> (N, feature_count), weights yet to come.

    last_layer: how the names of the tensors begin that a torchvision state dict has beyond those of
    the network. input_size: the only S that the network takes, in pixels; None where any S will do.
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


# By torchvision's own names. Each network but the vision transformer takes any size.
ARCHITECTURES: dict[str, Architecture] = {
    "vgg16": Architecture(_vgg16, 4096, last_layer="classifier.6."),
    "swin_v2_b": Architecture(_swin_v2_b, 1024, last_layer="head."),
    "convnext_base": Architecture(_convnext_base, 1024, last_layer="classifier.2."),
    "vit_l_16": Architecture(_vit_l_16, 1024, last_layer="heads.", input_size=224),
}


def build_backbone(
    name: str = "vgg16",
    seed: int | None = None,
    weights_path: Path | None = None,
    imagenet: bool = False,
) -> Backbone:
    """A backbone with random weights drawn from `seed`, those of a file, or ImageNet's.

    The file is a torchvision state dict (.pth, loaded without running any pickled code) or the
    same names in .safetensors; a last layer in it is left out. torch's random state on the CPU
    stays as it is. Random weights are torchvision's own initialisation: over real pictures the
    features of VGG-16 vary (a deviation a third of the mean), so that a head on them can learn.

    Raises BackboneError on an unknown name, unless exactly one of the three is given, and on
    weights that cannot be had, cannot be read or do not fit.
    """
    if (seed is not None) + (weights_path is not None) + imagenet != 1:
        raise BackboneError(
            "give one of these: a seed for random weights, a file of weights, or ImageNet weights"
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
    """torchvision's IMAGENET1K_V1 weights, downloaded once into torch's own cache folder.

    Raises BackboneError where they cannot be downloaded or read.
    """
    architecture = _architecture(name)
    weights = import_torchvision_models().get_model_weights(name).IMAGENET1K_V1
    try:
        with redirect_stdout(sys.stderr):  # torch tells of a download on standard output
            tensors = weights.get_state_dict(
                progress=True, check_hash=True, map_location="cpu", weights_only=True
            )
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        cache = Path(torch.hub.get_dir()) / "checkpoints"
        raise BackboneError(
            f"cannot get the ImageNet weights of {name} ({error}); download {weights.url} and give "
            f"it with --weights PATH, or put it into {cache}"
        ) from error
    return _without_last_layer(architecture, tensors)


def check_input_size(name: str, size: int) -> None:
    """Raises BackboneError where the backbone is unknown or does not take pictures of this size."""
    fixed = _architecture(name).input_size
    if fixed not in (None, size):
        raise BackboneError(f"{name} takes pictures of {fixed} pixels only, not {size}")


def restore_backbone(name: str, tensors: Mapping[str, torch.Tensor]) -> Backbone:
    """A backbone with the given weights, kept as float32 (and integers as they are).

    Raises BackboneError where a tensor is missing, unknown, of another shape or not finite.
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


def preprocess(renderings: Sequence[NDArray[np.uint8]], size: int) -> torch.Tensor:
    """Network input (N, 3, size, size) float32 of 8-bit grey renderings (any height, any width).

    Each rendering is resized by itself (bilinear, antialiased), repeated to three channels and
    normalised with the ImageNet mean and standard deviation.
    """
    return normalise(torch.cat([resize(rendering, size) for rendering in renderings]))


def resize(rendering: NDArray[np.uint8], size: int) -> torch.Tensor:
    """One 8-bit grey rendering as (1, 1, size, size) float32 in [0, 1], bilinear, antialiased."""
    grey = torch.tensor(rendering, dtype=torch.float32)[None, None] / 255
    return nn.functional.interpolate(
        grey, size=(size, size), mode="bilinear", antialias=True, align_corners=False
    )


def normalise(grey: torch.Tensor) -> torch.Tensor:
    """Network input (N, 3, S, S) of grey pictures (N, 1, S, S) in [0, 1], on their device."""
    mean = torch.tensor(IMAGENET_MEAN, device=grey.device).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=grey.device).view(3, 1, 1)
    return (grey.expand(-1, 3, -1, -1) - mean) / std


def extract_features(
    backbone: Backbone, renderings: Sequence[NDArray[np.uint8]], size: int, batch_size: int = 8
) -> NDArray[np.float32]:
    """Features (N, feature_count) float32 of 8-bit grey renderings, resized to size x size.

    Every batch has the same shape, the last one filled up with zeros, so that what an image gets
    does not depend on how many others there are.
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
    """Features as `extract_features` gives them, and the batch size they come from.

    On out-of-memory all are computed again, in batches of half, so that all come from one size.
    Raises OutOfDeviceMemoryError where even one image does not fit the device.
    """
    while True:
        try:
            return extract_features(backbone, renderings, size, batch_size), batch_size
        except torch.cuda.OutOfMemoryError as error:
            if batch_size == 1:
                raise OutOfDeviceMemoryError(
                    "one image does not fit the device's memory; stop other programs on it, or "
                    "take the CPU"
                ) from error
            batch_size //= 2
        torch.cuda.empty_cache()


def _forward(network: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    """One pass without TF32 and without choosing algorithms by speed: the same bits every time."""
    flags = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    with torch.inference_mode(), flags:
        output: torch.Tensor = network(batch)
    return output


def _check_tensor(
    name: str, key: str, expected: torch.Tensor | None, tensor: torch.Tensor | None
) -> None:
    remedy = f"take weights of {name} as torchvision or this program wrote them"
    if tensor is None:
        raise BackboneError(f"the weights lack the tensor {key!r}; {remedy}")
    if expected is None:
        raise BackboneError(f"{name} has no tensor {key!r}; {remedy}")
    if tensor.shape != expected.shape:
        shapes = f"{tuple(tensor.shape)}, not {tuple(expected.shape)}"
        raise BackboneError(f"tensor {key!r} has shape {shapes}; {remedy}")
    if not torch.isfinite(tensor).all():
        raise BackboneError(f"tensor {key!r} holds NaN or infinite numbers; {remedy}")


def _architecture(name: str) -> Architecture:
    if name not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise BackboneError(f"unknown backbone {name!r}; known are {known}")
    return ARCHITECTURES[name]


def _for_inference(network: nn.Module) -> nn.Module:
    # channels_last: 1.3 to 1.4 times as many images a second on a CPU as the default layout.
    laid_out: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return laid_out.eval().requires_grad_(False)


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a state dict in a file."""
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        raise BackboneError(f"cannot read weights from {path}: {error}") from error
    if not isinstance(tensors, Mapping) or not all(map(torch.is_tensor, tensors.values())):
        raise BackboneError(f"{path} is not a state dict; save `network.state_dict()` alone")
    return dict(tensors)


def _without_last_layer(
    architecture: Architecture, tensors: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    prefix = architecture.last_layer
    return {
        key: value for key, value in tensors.items() if prefix is None or not key.startswith(prefix)
    }
