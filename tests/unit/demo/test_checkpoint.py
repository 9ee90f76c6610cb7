"""The demo's checkpoint: small stand-ins for the network and the numbers of scenes."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mernet.demo import checkpoint
from mernet.demo.camera import rendering_of
from mernet.model import backbone
from mernet.model.checkpoint import load, read_header
from mernet.model.classes import CODES
from mernet.model.classifier import Classifier


def tiny_network() -> nn.Module:
    """64 features of an image of any size."""
    layers = (nn.Conv2d(3, 16, 7, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return nn.Sequential(*layers)


@pytest.fixture(scope="module")
def tiny() -> Iterator[pytest.MonkeyPatch]:
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        small = backbone.Architecture(tiny_network, feature_count=64)
        patch.setitem(backbone.ARCHITECTURES, "tiny", small)
        patch.setattr(checkpoint, "BACKBONE", "tiny")
        patch.setattr(checkpoint, "FITTED", 24)
        patch.setattr(checkpoint, "CALIBRATED", 12)
        patch.setattr(checkpoint, "DRAWN_SIZE", 64)
        yield patch
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def progress() -> list[tuple[int, int]]:
    return []


@pytest.fixture(scope="module")
def made(
    tiny: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    progress: list[tuple[int, int]],
) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "demo.safetensors"
    checkpoint.create_checkpoint(path, seed=4, on_progress=lambda *counts: progress.append(counts))
    return path


def test_it_says_that_it_has_seen_drawn_scenes_only(made: Path) -> None:
    header = read_header(made)
    assert header.name == "demo-drawn-scenes"
    assert "drawn scenes only" in str(header.training["data"])
    assert "not trained" in str(header.training["features"])


def test_it_names_the_scenes_that_it_learned_from(made: Path) -> None:
    scenes = checkpoint.training_scenes(4)
    labels = np.array([[code in scene.labels for code in CODES] for scene in scenes])
    digest = hashlib.sha256(labels.tobytes())
    for scene in scenes:
        digest.update(rendering_of(scene, 64).tobytes())
    assert read_header(made).data_set_hash == digest.hexdigest()


def test_progress_ends_with_every_scene(made: Path, progress: list[tuple[int, int]]) -> None:
    assert progress[-1] == (36, 36)


def test_it_is_made_once(made: Path) -> None:
    written = made.stat().st_mtime_ns
    checkpoint.create_checkpoint(made, seed=4, on_progress=pytest.fail)
    assert made.stat().st_mtime_ns == written


def test_a_classifier_gives_the_probabilities_that_were_fitted(made: Path) -> None:
    renderings = [rendering_of(scene, 64) for scene in checkpoint.training_scenes(4)[:6]]
    probabilities = Classifier.load(made, batch_size=2).probabilities(renderings)
    loaded = load(made)
    stored = {key: torch.from_numpy(value) for key, value in loaded.backbone.items()}
    features = backbone.extract_features(backbone.restore_backbone("tiny", stored), renderings, 128)
    marginals = loaded.head.marginals(features, loaded.header.chain)
    expected = loaded.header.calibration.apply(marginals)
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    assert probabilities[:, CODES.index("arh")].max() < 0.1


def test_features_are_those_of_the_rounded_weights_that_are_stored(made: Path) -> None:
    rounded = checkpoint._rounded(backbone.build_backbone("tiny", seed=checkpoint.BACKBONE_SEED))
    stored = load(made).backbone
    for key, tensor in rounded.network.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), stored[key].astype(np.float32))
