"""A tiny backbone registered under a test name, and checkpoints created with it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from mernet.model import checkpoint
from mernet.model.backbone import ARCHITECTURES, Architecture, Backbone, build_backbone
from mernet.model.calibration import Platt
from mernet.model.chain import ChainHead
from mernet.model.classes import CODES

FEATURES = 12
CLASSES = len(CODES)


def _tiny_network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, FEATURES),
    )


@pytest.fixture(scope="session")
def vgg16() -> Backbone:
    """The real architecture with random weights; shared, since it takes seconds."""
    return build_backbone("vgg16", seed=7)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Backbone:
    """A backbone of 12 features that takes no time, known as "tiny"."""
    monkeypatch.setitem(ARCHITECTURES, "tiny", Architecture(_tiny_network, FEATURES))
    return build_backbone("tiny", seed=1)


@pytest.fixture
def chain() -> ChainHead:
    random = np.random.default_rng(3)
    return ChainHead(
        weight=random.normal(size=(CLASSES, FEATURES)),
        label_weight=np.tril(random.normal(size=(CLASSES, CLASSES)), -1),
        bias=random.normal(size=CLASSES),
    )


def header(**changes: object) -> checkpoint.Header:
    """A header for the tiny backbone, with some fields changed."""
    fields = {
        "name": "test",
        "backbone": "tiny",
        "input_size": 32,
        "calibration": Platt(temperature=(2.0,) * CLASSES, bias=(0.5,) * CLASSES),
        "training": {"images": 600},
        "data_set_hash": "abc",
    }
    return checkpoint.Header(**(fields | changes))


@pytest.fixture
def make_header() -> Callable[..., checkpoint.Header]:
    return header


@pytest.fixture
def saved(tmp_path: Path, tiny: Backbone, chain: ChainHead) -> Path:
    """A checkpoint file of the tiny backbone."""
    path = tmp_path / "tiny.safetensors"
    checkpoint.save(path, header(), tiny, chain)
    return path


@pytest.fixture
def renderings() -> list[np.ndarray]:
    """Thirteen different pictures of different sizes."""
    random = np.random.default_rng(5)
    sides = random.integers(32, 80, size=(13, 2))
    return [random.integers(0, 256, size=tuple(side), dtype=np.uint8) for side in sides]
