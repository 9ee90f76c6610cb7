"""The convolutional network without its last layer: renderings in, features out."""

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from model.errors import BackboneError
from model.torchvision_guard import import_torchvision_models

# Of the ImageNet images that the pretrained weights have seen, per colour channel.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Architecture:
    """How to construct a network (N, 3, S, S) -> (N, feature_count), weights yet to come."""

    construct: Callable[[], nn.Module]
    feature_count: int


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


ARCHITECTURES: dict[str, Architecture] = {"vgg16": Architecture(_vgg16, feature_count=4096)}


def build(
    name: str = "vgg16", seed: int | None = None, weights_path: Path | None = None
) -> Backbone:
    """A backbone with random weights drawn from `seed`, or with those of a file.

    The file is a torchvision state dict (.pth, loaded without running any pickled code) or the
    same names in .safetensors; a last layer in it is left out. torch's random state on the CPU
    stays as it is. Random weights are torchvision's own initialisation: over real pictures the
    features vary (a deviation a third of the mean), so that a head on them can learn.

    Raises BackboneError on an unknown name, on both or neither of seed and weights_path, and on a
    file that cannot be read or does not fit.
    """
    if (seed is None) == (weights_path is None):
        raise BackboneError("give either a seed for random weights or a file of weights")
    if weights_path is not None:
        return restore(name, _read_weights(weights_path))
    architecture = _architecture(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = architecture.construct()
    return Backbone(name, _for_inference(network), architecture.feature_count)


def restore(name: str, tensors: Mapping[str, torch.Tensor]) -> Backbone:
    """A backbone with the given weights, kept as float32.

    Raises BackboneError where a tensor is missing, unknown, of another shape or not finite.
    """
    architecture = _architecture(name)
    with torch.device("meta"):  # shapes without memory or random numbers
        network = architecture.construct()
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    for key in sorted(expected.keys() | tensors.keys()):
        _check_tensor(name, key, expected.get(key), tensors.get(key))
    network.load_state_dict({key: value.float() for key, value in tensors.items()}, assign=True)
    return Backbone(name, _for_inference(network), architecture.feature_count)


def preprocess(renderings: Sequence[NDArray[np.uint8]], size: int) -> torch.Tensor:
    """Network input (N, 3, size, size) float32 of 8-bit grey renderings (any height, any width).

    Each rendering is resized by itself (bilinear, antialiased), repeated to three channels and
    normalised with the ImageNet mean and standard deviation.
    """
    grey = torch.cat([_resized(rendering, size) for rendering in renderings])
    mean = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD).view(3, 1, 1)
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


def _forward(network: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    """One pass without TF32 and without choosing algorithms by speed: the same bits every time."""
    flags = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    with torch.inference_mode(), flags:
        output: torch.Tensor = network(batch)
    return output


def _resized(rendering: NDArray[np.uint8], size: int) -> torch.Tensor:
    grey = torch.tensor(rendering, dtype=torch.float32)[None, None] / 255
    return nn.functional.interpolate(
        grey, size=(size, size), mode="bilinear", antialias=True, align_corners=False
    )


def _check_tensor(
    name: str, key: str, expected: tuple[int, ...] | None, tensor: torch.Tensor | None
) -> None:
    remedy = f"take weights of {name} as torchvision or this program wrote them"
    if tensor is None:
        raise BackboneError(f"the weights lack the tensor {key!r}; {remedy}")
    if expected is None:
        raise BackboneError(f"{name} has no tensor {key!r}; {remedy}")
    if tuple(tensor.shape) != expected:
        shape = tuple(tensor.shape)
        raise BackboneError(f"tensor {key!r} has shape {shape}, not {expected}; {remedy}")
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
    """The tensors of a state dict but those of the last layer, which a backbone does not have."""
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        raise BackboneError(f"cannot read weights from {path}: {error}") from error
    if not isinstance(tensors, Mapping) or not all(map(torch.is_tensor, tensors.values())):
        raise BackboneError(f"{path} is not a state dict; save `network.state_dict()` alone")
    return {key: value for key, value in tensors.items() if not key.startswith("classifier.6.")}
