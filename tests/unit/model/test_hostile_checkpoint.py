"""Whatever a checkpoint file holds, it is loaded or refused with one error that names the file."""

import json
import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from mernet.model import checkpoint
from mernet.model.classifier import Classifier
from mernet.model.errors import CheckpointError, ScoresError


@pytest.fixture
def parts(saved: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors and the header of a good checkpoint, to be changed."""
    with safe_open(saved, framework="numpy") as file:
        header = json.loads(file.metadata()[checkpoint.HEADER_KEY])
        return {key: file.get_tensor(key) for key in file.keys()}, header  # noqa: SIM118


def refused(path: Path) -> str:
    """The message with which a file is refused."""
    with pytest.raises(CheckpointError) as caught:
        Classifier.load(path)
    message = str(caught.value)
    assert path.name in message
    assert message.isprintable()
    assert len(message) < 800
    return message


@pytest.mark.parametrize("name", ["chain.weight", "chain.label_weight", "chain.bias"])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (25,), (25, 12, 1), (0, 0)])
def test_a_tensor_of_another_shape_is_refused(saved: Path, parts, name: str, shape) -> None:
    tensors, header = parts
    if tensors[name].shape == shape:
        pytest.skip("this shape is right")
    save_file(tensors | {name: np.zeros(shape)}, saved, {"mernet": json.dumps(header)})
    refused(saved)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["chain.weight", "chain.bias", "backbone.0.weight"])
def test_weights_that_are_no_numbers_are_refused(saved: Path, parts, name: str, value) -> None:
    tensors, header = parts
    tensors[name] = np.full_like(tensors[name], value)
    save_file(tensors, saved, {"mernet": json.dumps(header)})
    refused(saved)


def test_a_checkpoint_without_weights_is_refused(saved: Path, parts) -> None:
    tensors, header = parts
    heads = {name: each for name, each in tensors.items() if name.startswith("chain")}
    save_file(heads, saved, {"mernet": json.dumps(header)})
    assert "lack" in refused(saved)


@pytest.mark.parametrize("name", ["x\x1b[2J", "a" * 100_000, "\n", "\u202e", ""])
def test_odd_names_are_refused_and_shown_short(saved: Path, parts, name: str) -> None:
    tensors, header = parts
    save_file(tensors | {name: np.zeros(1)}, saved, {"mernet": json.dumps(header)})
    refused(saved)
    for field in ("name", "backbone", "data_set_hash"):
        save_file(tensors, saved, {"mernet": json.dumps(header | {field: name})})
        refused(saved)
    save_file(tensors, saved, {"mernet": json.dumps(header | {"classes": [name, "b"]})})
    refused(saved)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        '{"format_version": 1, "format_version": 1}',
        '{"format_version": ' + "9" * 5000 + "}",
        '{"format_version": NaN}',
        '"text"',
        "",
        "\0",
    ],
)
def test_a_header_that_is_deep_doubled_or_no_json_is_refused(saved: Path, parts, text: str) -> None:
    save_file(parts[0], saved, {"mernet": text})
    refused(saved)


def test_a_deep_training_record_is_refused(saved: Path, parts) -> None:
    tensors, header = parts
    text = json.dumps(header).replace('"images": 600', '"images": ' + "[" * 900 + "]" * 900)
    save_file(tensors, saved, {"mernet": text})
    refused(saved)


@pytest.mark.parametrize("length", [0, 1, 7, 2**20, 2**40, 2**63, 2**64 - 1])
def test_a_header_size_that_lies_is_refused(saved: Path, length: int) -> None:
    saved.write_bytes(length.to_bytes(8, "little") + saved.read_bytes()[8:])
    refused(saved)


@pytest.mark.parametrize("size", [0, 1, 8, 9, 100, -1])
def test_a_cut_file_is_refused(saved: Path, size: int) -> None:
    saved.write_bytes(saved.read_bytes()[:size])
    refused(saved)


def test_a_tensor_that_is_there_twice_is_refused(saved: Path) -> None:
    data = saved.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].rstrip()
    entry = json.dumps(json.loads(header)["chain.bias"])
    doubled = header[:-1] + f', "chain.bias": {entry}}}'.encode()
    saved.write_bytes(len(doubled).to_bytes(8, "little") + doubled + data[8 + length :])
    assert "twice" in refused(saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"chain": {"mode": "sampled", "samples": 65536, "seed": 10**400}},
        {"classes": [f"c{number}" for number in range(100_000)]},
        {"input_size": 10**9},
        {"threshold": 1e999},
        {"format_version": "1" * 100_000},
        {"name": ["a"]},
        {"surprise": 1},
    ],
)
def test_a_header_with_absurd_values_is_refused(saved: Path, parts, changes) -> None:
    tensors, header = parts
    save_file(tensors, saved, {"mernet": json.dumps(header | changes)})
    refused(saved)


def test_memory_is_bounded_by_the_file_and_not_by_what_it_says(saved: Path, parts) -> None:
    """A control head of 20,000 classes (160 kB) had a table of 3 GB made for it."""
    tensors, header = parts
    calibration = {"temperature": [1.0] * 25, "bias": [0.0] * 25}
    tensors["control.weight"] = np.zeros((20_000, 1))
    tensors["control.bias"] = np.zeros(20_000)
    save_file(tensors, saved, {"mernet": json.dumps(header | {"control": calibration})})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(saved)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kilobytes


def test_a_folder_a_pipe_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "missing", tmp_path / ("a" * 300)):
        with pytest.raises(CheckpointError):
            checkpoint.read_header(path)


def test_scores_that_are_no_probabilities_are_an_error(saved: Path, parts, renderings) -> None:
    tensors, header = parts
    tensors["backbone.4.weight"] = np.full_like(tensors["backbone.4.weight"], 3e38)
    tensors["backbone.4.weight"][0] *= -1
    save_file(tensors, saved, {"mernet": json.dumps(header)})
    classifier = Classifier.load(saved)
    with pytest.raises(ScoresError, match="no probabilities"):
        classifier.check_scores()
    with pytest.raises(ScoresError):
        classifier.probabilities(renderings)


def test_a_good_checkpoint_scores_the_picture_of_all_levels(saved: Path) -> None:
    Classifier.load(saved).check_scores()


@pytest.mark.parametrize(
    ("training", "types"),
    [
        ({}, set()),
        ({"product_types": ["EFF", "ESF"]}, {"EFF", "ESF"}),
        ({"product_types": "EFF"}, set()),
        ({"product_types": [1, None, "EFF"]}, {"EFF"}),
    ],
)
def test_the_types_of_the_products_learned_are_in_the_training_record(
    make_header, training, types
) -> None:
    assert make_header(training=training).product_types == types
