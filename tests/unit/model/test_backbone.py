"""From renderings to features: one preprocessing, and weights that are checked."""

import contextlib
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mernet.model.backbone import (
    ARCHITECTURES,
    Architecture,
    Backbone,
    build_backbone,
    check_input_size,
    extract_features,
    imagenet_weights,
    preprocess,
    restore_backbone,
)
from mernet.model.errors import BackboneError, WeightsDownloadError
from mernet.model.torchvision_compat import import_torchvision_models


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


@pytest.mark.parametrize("name", ["swin_v2_b", "convnext_base"])
def test_a_backbone_of_any_size_gives_the_same_features_after_its_weights_were_stored(
    name: str, tmp_path: Path
):
    built = build_backbone(name, seed=2)
    state = {key: value.contiguous() for key, value in built.network.state_dict().items()}
    save_file(state, tmp_path / "kept.safetensors")
    kept = build_backbone(name, weights_path=tmp_path / "kept.safetensors")
    picture = [np.random.default_rng(1).integers(0, 256, (70, 90), dtype=np.uint8)]
    features = extract_features(built, picture, size=64, batch_size=1)
    assert features.shape == (1, built.feature_count)
    assert features.std() > 0.1
    assert np.array_equal(extract_features(kept, picture, size=64, batch_size=1), features)


def test_the_vision_transformer_gives_1024_features():
    with torch.device("meta"):
        network = ARCHITECTURES["vit_l_16"].construct()
        features = network(torch.zeros(2, 3, 224, 224))
    assert features.shape == (2, ARCHITECTURES["vit_l_16"].feature_count) == (2, 1024)


@pytest.mark.parametrize("name", ["vgg16", "swin_v2_b", "convnext_base", "vit_l_16"])
def test_torchvisions_own_weights_fit_but_for_the_last_layer(name: str):
    architecture = ARCHITECTURES[name]
    with torch.device("meta"):
        whole = getattr(import_torchvision_models(), name)(weights=None).state_dict()
        ours = architecture.construct().state_dict()
    assert {key for key in whole if not key.startswith(architecture.last_layer)} == set(ours)
    assert [key for key in whole if key.startswith(architecture.last_layer)] != []


def test_only_the_vision_transformer_needs_a_fixed_size():
    check_input_size("vit_l_16", 224)
    check_input_size("vgg16", 96)
    with pytest.raises(
        BackboneError, match="vit_l_16 accepts pictures of 224 pixels only, not 256"
    ):
        check_input_size("vit_l_16", 256)


def test_imagenet_weights_come_from_torchs_own_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / "vgg16-397923af.pth"
    cached.parent.mkdir(parents=True)
    torch.save({"features.0.bias": torch.ones(64), "classifier.6.bias": torch.ones(1000)}, cached)
    assert list(imagenet_weights("vgg16")) == ["features.0.bias"]


def test_without_a_network_the_error_names_the_url_of_imagenet_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    with pytest.raises(WeightsDownloadError, match=r"no network.*/swin_v2_b-\w+\.pth") as raised:
        build_backbone("swin_v2_b", imagenet=True)
    assert str(tmp_path / "hub" / "checkpoints") in str(raised.value)


def test_a_backbone_is_in_evaluation_mode_and_takes_no_gradients(vgg16: Backbone):
    assert not vgg16.network.training
    assert not any(parameter.requires_grad for parameter in vgg16.network.parameters())


def test_a_seed_gives_the_same_weights_again_and_another_seed_others(tiny: Backbone):
    first, again, other = (
        build_backbone("tiny", seed=seed).network.state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])


def test_building_does_not_disturb_torchs_random_state(tiny: Backbone):
    before = torch.random.get_rng_state()
    build_backbone("tiny", seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_unknown_name_is_refused_naming_the_known_ones():
    with pytest.raises(BackboneError, match=r"No backbone is called 'vgg17'; did you mean 'vgg16'"):
        build_backbone("vgg17", seed=1)


@pytest.mark.parametrize(
    "choice",
    [{}, {"seed": 0, "weights_path": Path("w.pth")}, {"seed": 0, "imagenet": True}],
)
def test_exactly_one_source_of_weights_must_be_given(tiny: Backbone, choice: dict[str, object]):
    with pytest.raises(BackboneError, match="give exactly one of"):
        build_backbone("tiny", **choice)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_come_from_a_file_without_its_last_layer(
    tiny: Backbone, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
):
    headed = Architecture(ARCHITECTURES["tiny"].construct, 12, last_layer="classifier.6.")
    monkeypatch.setitem(ARCHITECTURES, "tiny", headed)
    state = {key: value.contiguous() for key, value in tiny.network.state_dict().items()}
    state["classifier.6.weight"] = torch.zeros(3)
    path = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state, path)
    read = build_backbone("tiny", weights_path=path).network.state_dict()
    assert all(torch.equal(read[key], value) for key, value in tiny.network.state_dict().items())


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tiny: Backbone, tmp_path: Path):
    marker, path = tmp_path / "ran", tmp_path / "weights.pth"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (marker,)

    torch.save({"0.weight": Trap()}, path)
    with pytest.raises(BackboneError, match="cannot read weights"):
        build_backbone("tiny", weights_path=path)
    assert not marker.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_missing_or_damaged_weight_file_is_refused(tiny: Backbone, tmp_path: Path, suffix: str):
    path = tmp_path / f"weights{suffix}"
    with pytest.raises(BackboneError, match="cannot read weights"):
        build_backbone("tiny", weights_path=path)
    for content in (
        b"",
        b"not weights",
        b"\x80\x02.",
        b"\x80\x02K",
        b"\x80\x02h\x05.",
        b"PK\x03\x04",
    ):
        path.write_bytes(content)
        with pytest.raises(BackboneError, match="cannot read weights"):
            build_backbone("tiny", weights_path=path)


def test_a_file_that_is_not_a_state_dict_is_refused(tiny: Backbone, tmp_path: Path):
    for content in (torch.zeros(3), {"epoch": 5}):
        torch.save(content, tmp_path / "weights.pth")
        with pytest.raises(BackboneError, match="is not a state dict"):
            build_backbone("tiny", weights_path=tmp_path / "weights.pth")


def test_integer_weights_stay_integers(monkeypatch: pytest.MonkeyPatch):
    class Indexed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(2))
            self.register_buffer("index", torch.tensor([1, 0]))

    monkeypatch.setitem(ARCHITECTURES, "indexed", Architecture(Indexed, 2))
    halves = {"scale": torch.ones(2).half(), "index": torch.tensor([1, 0])}
    restored = restore_backbone("indexed", halves).network.state_dict()
    assert (restored["scale"].dtype, restored["index"].dtype) == (torch.float32, torch.int64)


def test_a_weight_that_is_not_finite_is_refused(tiny: Backbone):
    state = {key: value.clone() for key, value in tiny.network.state_dict().items()}
    state["0.bias"][0] = torch.nan
    with pytest.raises(BackboneError, match=r"'0\.bias' contains NaN"):
        restore_backbone("tiny", state)


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


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_no_damage_of_a_weight_file_is_a_traceback(tiny: Backbone, tmp_path: Path, suffix: str):
    path = tmp_path / f"weights{suffix}"
    state = {key: value.contiguous() for key, value in tiny.network.state_dict().items()}
    if suffix == ".pth":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    else:
        save_file(state, path)
    content = path.read_bytes()
    random = np.random.default_rng(1)
    for _ in range(200):
        damaged = bytearray(content)
        for place in random.integers(0, min(len(content), 2000), 3):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(BackboneError):
            build_backbone("tiny", weights_path=path)


def test_a_state_dict_has_names(tiny: Backbone, tmp_path: Path):
    torch.save({1: torch.zeros(3)}, tmp_path / "weights.pth")
    with pytest.raises(BackboneError, match="is not a state dict"):
        build_backbone("tiny", weights_path=tmp_path / "weights.pth")
