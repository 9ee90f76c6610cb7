"""A second classifier: run beside the first, compared, promoted, rolled back, then pruned."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mernet.model.checkpoint import HEADER_KEY, read_header

INVENTORY = "pds4/collection_data_inventory.csv"
PRODUCTS = 12


@pytest.fixture
def another_checkpoint(checkpoint: Path, tmp_path: Path) -> Path:
    """The random checkpoint with other biases: its classes are others."""
    tensors = load_file(checkpoint)
    tensors["chain.bias"] = np.ascontiguousarray(tensors["chain.bias"][::-1])
    header = read_header(checkpoint).model_copy(update={"name": "another"})
    path = tmp_path / "another.safetensors"
    save_file(tensors, path, metadata={HEADER_KEY: header.model_dump_json()})
    return path


def searched(service):
    """How many images a search finds, by class."""
    return {row["class"]: row["images"] for row in service.json("search")}


def test_a_classifier_is_compared_before_it_is_promoted_and_rolled_back_with_one_command(
    make_service, archive_url, another_checkpoint
):
    service = make_service()
    run = ("run", "full", "--archive", archive_url + INVENTORY, "--products", "rdr", "--follow")
    service.succeed(*run)
    before = searched(service)

    # The new classifier runs beside the current one, whose classes searches go on to see.
    service.succeed("classifier", "add", str(another_checkpoint))
    beside = service.json(*run, "--classifier", "another")
    assert (beside["listed"], beside["classified"]) == (PRODUCTS, PRODUCTS)
    assert searched(service) == before

    found = service.json("classifier", "diff", "random", "another")
    assert (found["both"], found["only_before"], found["only_after"]) == (PRODUCTS, 0, 0)
    assert {row["code"]: row["before"] for row in found["classes"]} == before
    expected = {row["code"]: row["after"] for row in found["classes"]}
    assert expected != before

    service.succeed("classifier", "promote", "another")
    assert searched(service) == expected
    service.succeed("classifier", "rollback")
    assert searched(service) == before

    # A threshold above every score but 1 takes the class from the searches, and gives it back.
    code = max(before, key=before.__getitem__)
    service.succeed("classifier", "threshold", code, "0.999999")
    assert searched(service)[code] < before[code]
    assert service.json("reconcile", "1")["ok"]
    service.succeed("classifier", "threshold", code, "0.9")
    assert searched(service) == before

    service.succeed("classifier", "prune", "another", "--yes")
    assert service.rows("SELECT count(DISTINCT classifier) FROM outcome") == [(1,)]
    assert searched(service) == before
