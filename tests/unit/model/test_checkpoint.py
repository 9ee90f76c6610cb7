"""A checkpoint is loaded as it was saved; anything else is refused in one sentence."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mernet.model import checkpoint
from mernet.model.backbone import Backbone
from mernet.model.calibration import Platt
from mernet.model.chain import ChainHead
from mernet.model.checkpoint import read_header
from mernet.model.classifier import Classifier
from mernet.model.errors import CheckpointError, NotACheckpoint
from mernet.model.softmax import SoftmaxHead


def rewrite(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    """Change tensors and header fields of a saved checkpoint, past all checks."""
    with safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()[checkpoint.HEADER_KEY])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    change(tensors, header)
    save_file(tensors, path, metadata={checkpoint.HEADER_KEY: json.dumps(header)})


def change_header(**changes: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda tensors, header: header.update(changes)


def change_tensor(key: str, **change: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def apply(tensors: dict[str, Any], header: dict[str, Any]) -> None:
        if "to" in change:
            tensors[key] = change["to"]
        elif "dtype" in change:
            tensors[key] = tensors[key].astype(change["dtype"])
        else:
            del tensors[key]

    return apply


def test_header_weights_and_chain_are_loaded_as_saved(
    saved: Path, tiny: Backbone, chain: ChainHead, make_header: Callable[..., checkpoint.Header]
):
    loaded = checkpoint.load(saved)
    assert loaded.header == make_header() == checkpoint.read_header(saved)
    for key, value in tiny.network.state_dict().items():
        assert (loaded.backbone[key] == value.numpy()).all()
    for part in ("weight", "label_weight", "bias"):
        assert (getattr(loaded.head, part) == getattr(chain, part)).all()


def test_float16_storage_halves_the_backbone_and_rounds_it_slightly(
    tmp_path: Path, tiny: Backbone, chain: ChainHead, make_header: Callable[..., checkpoint.Header]
):
    path = tmp_path / "half.safetensors"
    checkpoint.save(path, make_header(), tiny, chain, storage="float16")
    loaded = checkpoint.load(path)
    for key, value in tiny.network.state_dict().items():
        assert loaded.backbone[key].dtype == np.float16
        assert loaded.backbone[key] == pytest.approx(value.numpy(), rel=1e-3, abs=1e-6)
    assert loaded.head.weight.dtype == np.float64


def test_a_checkpoint_has_the_permissions_of_any_other_new_file(saved: Path, tmp_path: Path):
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert saved.stat().st_mode == ordinary.stat().st_mode


def test_a_failed_save_leaves_the_old_file_and_nothing_else(
    saved: Path,
    tiny: Backbone,
    chain: ChainHead,
    make_header: Callable[..., checkpoint.Header],
    monkeypatch: pytest.MonkeyPatch,
):
    before = saved.read_bytes()

    def disk_full(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", disk_full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        checkpoint.save(saved, make_header(), tiny, chain)
    assert [(path, path.read_bytes()) for path in saved.parent.iterdir()] == [(saved, before)]


def test_a_header_that_names_another_backbone_is_not_saved(
    tmp_path: Path, tiny: Backbone, chain: ChainHead, make_header: Callable[..., checkpoint.Header]
):
    with pytest.raises(CheckpointError, match="names the backbone 'vgg16'"):
        checkpoint.save(tmp_path / "x", make_header(backbone="vgg16"), tiny, chain)


def test_the_sha256_is_that_of_the_files_bytes(saved: Path):
    assert checkpoint.sha256_of(saved) == hashlib.sha256(saved.read_bytes()).hexdigest()


def test_reading_a_header_does_not_import_torch(saved: Path):
    program = (
        "import sys; from pathlib import Path; from mernet.model.checkpoint import read_header\n"
        f"print(read_header(Path({str(saved)!r})).name, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["test", "False"], done.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "checkpoint format 2, but this program reads format 1"),
        ({"classes": ["rod"]}, "header field classes: .*at least 2"),
        ({"classes": ["rod"] * 25}, "header field classes: .*not contain a class twice"),
        ({"classes": ["rod", "pct"]}, "must have 2 temperatures"),
        ({"head": "forest"}, "header field head"),
        ({"threshold": 1.0}, "header field threshold"),
        ({"threshold": 0.0}, "header field threshold"),
        ({"input_size": 8}, "header field input_size"),
        ({"chain": {"mode": "guess"}}, "header field chain.mode"),
        ({"calibration": {"temperature": [0.0] * 25, "bias": [0.0] * 25}}, "calibration"),
        ({"calibration": {"temperature": [1.0], "bias": [0.0]}}, "25 temperatures and biases"),
        ({"surprise": 1}, "header field surprise"),
    ],
)
def test_a_wrong_header_is_refused_naming_the_field(
    saved: Path, changes: dict[str, Any], message: str
):
    rewrite(saved, change_header(**changes))
    with pytest.raises(CheckpointError, match=message):
        checkpoint.read_header(saved)


def test_a_missing_header_field_is_named(saved: Path):
    rewrite(saved, lambda tensors, header: header.pop("data_set_hash"))
    with pytest.raises(CheckpointError, match=r"data_set_hash: Field required"):
        checkpoint.read_header(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_tensor("chain.bias"), "lacks the tensor 'chain.bias'"),
        (change_tensor("chain.bias", to=np.zeros(3)), "shapes"),
        (change_tensor("chain.weight", dtype=np.float32), "'chain.weight' has type F32, not F64"),
        (change_tensor("chain.weight", to=np.full((25, 12), np.nan)), "NaN"),
        (
            change_tensor("chain.weight", to=np.zeros((25, 7))),
            "expects 7 features, but tiny computes 12",
        ),
        (change_tensor("chain.label_weight", to=np.ones((25, 25))), "strictly lower triangular"),
        (change_tensor("optimiser", to=np.zeros(3)), "unknown tensor 'optimiser'"),
        (change_tensor("backbone.0.bias"), "lack the tensor '0.bias'"),
        (change_tensor("backbone.9.bias", to=np.zeros(3, np.float32)), "no tensor '9.bias'"),
        (change_tensor("backbone.0.bias", to=np.zeros(5, np.float32)), r"shape \(5,\), not \(4,\)"),
        (change_tensor("backbone.0.bias", dtype=np.float64), "has type F64, not F32 or F16"),
        (change_tensor("backbone.0.bias", to=np.full(4, np.inf, np.float32)), "infinite"),
    ],
)
def test_wrong_tensors_are_refused_naming_the_tensor(
    saved: Path, change: Callable[..., None], message: str
):
    rewrite(saved, change)
    with pytest.raises(CheckpointError, match=message):
        Classifier.load(saved)


def test_an_unknown_backbone_is_refused_naming_the_known_ones(saved: Path):
    rewrite(saved, change_header(backbone="resnet"))
    with pytest.raises(CheckpointError, match=r"No backbone is called 'resnet'.*vgg16"):
        Classifier.load(saved)


def test_a_chain_of_other_classes_than_the_headers_is_refused(saved: Path):
    def shrink(tensors: dict[str, Any], header: dict[str, Any]) -> None:
        parts = (np.zeros((3, 12)), np.zeros((3, 3)), np.zeros(3))
        tensors.update(zip(checkpoint.CHAIN_TENSORS, parts, strict=True))

    rewrite(saved, shrink)
    with pytest.raises(CheckpointError, match="a head of 3 classes but 25"):
        checkpoint.load(saved)


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match="does not exist"):
        checkpoint.load(tmp_path / "nothing.safetensors")


def test_a_file_that_is_not_safetensors_is_refused(tmp_path: Path):
    path = tmp_path / "other.pt"
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(CheckpointError, match="is not a complete safetensors file"):
        checkpoint.load(path)


def test_a_truncated_file_is_refused(saved: Path):
    saved.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="is not a complete safetensors file"):
        checkpoint.load(saved)


def test_safetensors_without_our_header_are_refused(tmp_path: Path):
    path = tmp_path / "other.safetensors"
    save_file({"weight": np.zeros(3)}, path)
    with pytest.raises(CheckpointError, match="has no MERNet header"):
        checkpoint.load(path)


def test_a_header_that_names_a_class_twice_cannot_be_created(
    make_header: Callable[..., checkpoint.Header],
):
    with pytest.raises(ValidationError, match="not contain a class twice"):
        make_header(classes=("rod",) * 25)


def test_control_and_softmax_heads_are_loaded_as_saved(
    tmp_path: Path, tiny: Backbone, chain: ChainHead, make_header: Callable[..., checkpoint.Header]
):
    softmax = SoftmaxHead(chain.weight, chain.bias)
    control = ChainHead(chain.weight + 1, np.zeros((25, 25)), chain.bias + 1)
    path = tmp_path / "softmax.safetensors"
    header = make_header(head="softmax", control=Platt.identity(25))
    checkpoint.save(path, header, tiny, softmax, control)
    loaded = checkpoint.load(path)
    assert isinstance(loaded.head, SoftmaxHead)
    assert (loaded.head.weight == softmax.weight).all()
    assert loaded.control is not None
    assert (loaded.control.weight == control.weight).all()
    assert not loaded.control.label_weight.any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": "softmax"}, "another kind was given"),
        ({"control": Platt.identity(25)}, "or neither"),
    ],
)
def test_heads_that_are_not_the_headers_are_not_saved(
    tmp_path: Path,
    tiny: Backbone,
    chain: ChainHead,
    make_header: Callable[..., checkpoint.Header],
    changes: dict[str, Any],
    message: str,
):
    with pytest.raises(CheckpointError, match=message):
        checkpoint.save(tmp_path / "x", make_header(**changes), tiny, chain)


def test_integers_of_a_backbone_stay_what_they_are(
    tmp_path: Path, chain: ChainHead, make_header: Callable[..., checkpoint.Header]
):
    network = torch.nn.Module()
    network.register_buffer("index", torch.arange(300))
    path = tmp_path / "index.safetensors"
    checkpoint.save(path, make_header(), Backbone("tiny", network, 12), chain, storage="float16")
    assert checkpoint.load(path).backbone["index"].tolist() == list(range(300))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04archive/data.pkl", "is a zip archive, perhaps PyTorch weights"),
        (b"\x80\x02\x8a\nl\xfc", "is a pickle, perhaps PyTorch weights"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"the weights are on the other disk\n", "is a text file"),
    ],
)
def test_a_file_of_another_kind_is_named_for_what_it_is(tmp_path, content, said):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(NotACheckpoint, match=said):
        read_header(path)


def test_a_folder_a_url_and_nothing_are_named_for_what_they_are(tmp_path):
    with pytest.raises(NotACheckpoint, match=r"is a folder; give a file$"):
        read_header(tmp_path)
    (tmp_path / "best.safetensors").touch()
    with pytest.raises(NotACheckpoint, match=r"is a folder; give a file in it: best\.safetensors"):
        read_header(tmp_path)
    with pytest.raises(NotACheckpoint, match=r"^https://example\.org/best.* is a URL; download"):
        read_header(Path("https://example.org/best.safetensors"))
    with pytest.raises(NotACheckpoint, match="does not exist"):
        read_header(tmp_path / "none.safetensors")
