"""The scene that the tests of disturbances share."""

from collections.abc import Iterator

import pytest

from faults.judgement import undisturbed
from faults.scene import Published, Scene, scene
from mernet.demo.archive import write_archive

PRODUCTS = 24


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scene, Published]]:
    """A scene, and what an undisturbed run publishes in it."""
    archive = tmp_path_factory.mktemp("disturbed")
    write_archive(archive, seed=11, products=PRODUCTS)
    with scene(archive, pace=0.3) as made:
        yield made, undisturbed(made)
