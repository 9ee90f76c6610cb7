"""A small sample archive, written once for all tests of the room."""

from pathlib import Path

import pytest

from mernet.demo.archive import write_archive
from mernet.demo.plan import Shot, Take, plan_archive

SEED, PRODUCTS = 3, 14


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    write_archive(folder, SEED, PRODUCTS, processes=1)
    return folder


@pytest.fixture(scope="session")
def shots() -> list[Shot]:
    return plan_archive(SEED, PRODUCTS)


@pytest.fixture(scope="session")
def takes(shots: list[Shot]) -> list[Take]:
    return [take for shot in shots for take in shot.takes]
