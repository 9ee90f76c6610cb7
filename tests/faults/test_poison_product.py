"""A product that kills every process that touches it: it fails, all others are classified."""

import csv
from pathlib import Path

import pytest

# Python runs a module of this name at its start, so every worker process has it.
SITECUSTOMIZE = """
import os, signal
from mernet.worker import product_images

decode = product_images.decode

def decode_or_die(data, name, label=None):
    if name == "{poison}":
        os.kill(os.getpid(), signal.SIGKILL)
    return decode(data, name, label)

product_images.decode = decode_or_die
"""


@pytest.fixture
def poison(archive: Path) -> str:
    """An eligible product of the sample archive with nothing wrong but what a test does to it."""
    with (archive / "truth.csv").open(newline="") as file:
        return next(
            row["product_id"] for row in csv.DictReader(file) if row["expected"] == "classified"
        )


def test_the_chunk_is_split_until_the_one_product_is_found(
    make_service, archive_url, poison, tmp_path
):
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE.format(poison=poison))
    service = make_service(
        MERNET_CHUNK_SIZE="4",
        MERNET_CHUNK_ATTEMPTS="1",
        PYTHONPATH=str(tmp_path),
    )
    archives = (
        "--archive",
        f"{archive_url}mer1po_0xxx/",
        "--archive",
        f"{archive_url}mer2po_0xxx/",
    )
    service.succeed("run", "full", *archives, "--follow")

    failed = dict(service.rows("SELECT product_id, reason FROM outcome WHERE state = 'failed'"))
    assert failed.pop(poison) == "worker lost"
    assert sorted(failed.values()) == ["not found", "truncated"]
    assert service.rows("SELECT count(*) FROM chunk WHERE state = 'split'") == [(2,)]
    assert service.json("reconcile")["ok"]
