"""The scene that the tests of disturbances share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.judgement import undisturbed
from faults.scene import Published, Scene, scene


@pytest.fixture(scope="module")
def disturbed(archive: Path) -> Iterator[tuple[Scene, Published]]:
    """A scene, and what an undisturbed run publishes in it."""
    with scene(archive, pace=1.0) as made:
        yield made, undisturbed(made)
