"""From renderings to features: one preprocessing, and weights that are checked."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from model.backbone import Backbone, build, extract_features, preprocess, restore
from model.errors import BackboneError


def test_vgg16_gives_4096_features_that_vary_from_picture_to_picture(vgg16: Backbone):
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 40 * (i + 2), (48, 48), dtype=np.uint8) for i in range(4)]
    features = extract_features(vgg16, pictures, size=32, batch_size=4)
    assert features.shape == (4, 4096)
    assert features.dtype == np.float32
    alive = features.std(axis=0) > 0
    assert alive.mean() > 0.5


def test_vgg16_ends_before_the_last_layer_of_torchvisions(vgg16: Backbone):
    shapes = {key: tuple(value.shape) for key, value in vgg16.network.state_dict().items()}
    assert shapes["classifier.3.weight"] == (4096, 4096)
    assert not any(key.startswith("classifier.6") for key in shapes)
    assert len(shapes) == 2 * 15


def test_a_backbone_is_in_evaluation_mode_and_takes_no_gradients(vgg16: Backbone):
    assert not vgg16.network.training
    assert not any(parameter.requires_grad for parameter in vgg16.network.parameters())


def test_a_seed_gives_the_same_weights_again_and_another_seed_others(tiny: Backbone):
    first, again, other = (build("tiny", seed=seed).network.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])


def test_building_does_not_disturb_torchs_random_state(tiny: Backbone):
    before = torch.random.get_rng_state()
    build("tiny", seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_unknown_name_is_refused_naming_the_known_ones():
    with pytest.raises(BackboneError, match="unknown backbone 'vgg17'; known are vgg16"):
        build("vgg17", seed=1)


def test_exactly_one_of_seed_and_weights_must_be_given(tiny: Backbone, tmp_path: Path):
    for choice in ({}, {"seed": 1, "weights_path": tmp_path / "w.pth"}):
        with pytest.raises(BackboneError, match=r"either a seed .* or a file"):
            build("tiny", **choice)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_come_from_a_file_without_its_last_layer(
    tiny: Backbone, tmp_path: Path, suffix: str
):
    state = {key: value.contiguous() for key, value in tiny.network.state_dict().items()}
    state["classifier.6.weight"] = torch.zeros(3)
    path = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state, path)
    read = build("tiny", weights_path=path).network.state_dict()
    assert all(torch.equal(read[key], value) for key, value in tiny.network.state_dict().items())


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tiny: Backbone, tmp_path: Path):
    marker, path = tmp_path / "ran", tmp_path / "weights.pth"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (marker,)

    torch.save({"0.weight": Trap()}, path)
    with pytest.raises(BackboneError, match="cannot read weights"):
        build("tiny", weights_path=path)
    assert not marker.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_missing_or_damaged_weight_file_is_refused(tiny: Backbone, tmp_path: Path, suffix: str):
    path = tmp_path / f"weights{suffix}"
    with pytest.raises(BackboneError, match="cannot read weights"):
        build("tiny", weights_path=path)
    for content in (b"", b"not weights"):
        path.write_bytes(content)
        with pytest.raises(BackboneError, match="cannot read weights"):
            build("tiny", weights_path=path)


def test_a_file_of_something_else_than_a_state_dict_is_refused(tiny: Backbone, tmp_path: Path):
    for content in (torch.zeros(3), {"epoch": 5}):
        torch.save(content, tmp_path / "weights.pth")
        with pytest.raises(BackboneError, match="is not a state dict"):
            build("tiny", weights_path=tmp_path / "weights.pth")


def test_a_weight_that_is_not_finite_is_refused(tiny: Backbone):
    state = {key: value.clone() for key, value in tiny.network.state_dict().items()}
    state["0.bias"][0] = torch.nan
    with pytest.raises(BackboneError, match=r"'0\.bias' holds NaN"):
        restore("tiny", state)


def test_preprocessing_repeats_grey_to_three_normalised_channels():
    images = preprocess([np.full((50, 70), 255, np.uint8)], size=32)
    assert images.shape == (1, 3, 32, 32)
    for channel, (mean, std) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]):
        expected = torch.full((32, 32), (1 - mean) / std)
        torch.testing.assert_close(images[0, channel], expected)


def test_resizing_is_antialiased():
    stripes = np.tile(np.array([0, 255], np.uint8), (256, 128))
    images = preprocess([stripes], size=32)
    grey = images[0, 0] * 0.229 + 0.485
    torch.testing.assert_close(grey, torch.full((32, 32), 0.5), atol=0.02, rtol=0)


def test_renderings_of_different_sizes_share_a_batch(tiny: Backbone, renderings: list[np.ndarray]):
    assert extract_features(tiny, renderings, size=32, batch_size=4).shape == (13, 12)


def test_no_renderings_give_no_features(tiny: Backbone):
    assert extract_features(tiny, [], size=32).shape == (0, 12)
