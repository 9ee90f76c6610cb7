"""An archive gives its index but no image, or refuses everything: a run waits, no product fails."""

import pytest

from faults.flaky_archive import Behaviour, Request, busy, html, redirect_elsewhere, serve
from mernet.db import ledger, obstacles


def images_only(behaviour: Behaviour) -> Behaviour:
    """Behave so for images, and serve all else."""

    def behave(request: Request) -> None:
        (behaviour if request.path.endswith(".img") else serve)(request)

    return behave


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(busy(403), id="all 403"),
        pytest.param(images_only(busy(503)), id="images 503", marks=pytest.mark.long),
        pytest.param(images_only(html), id="images are web pages", marks=pytest.mark.long),
        pytest.param(redirect_elsewhere, id="all redirected", marks=pytest.mark.long),
    ],
)
def test_a_run_waits_while_an_archive_gives_no_image_and_no_product_fails(disturbed, behaviour):
    scene, expected = disturbed
    scene.forget()
    run_id = scene.queue_run()
    assert scene.wait_until(lambda: bool(scene.rows("SELECT FROM outcome")))
    with scene.archive.behaving(behaviour):
        assert scene.wait_until(lambda: is_waiting(scene, run_id))
        assert scene.rows("SELECT FROM outcome WHERE state = 'failed'") == []
    assert scene.wait_for_the_end(), scene.log()[-3000:]
    assert scene.published() == expected
    assert ledger.reconcile(scene.engine, run_id).ok
    assert obstacles.current(scene.engine) == []


def is_waiting(scene, run_id: int) -> bool:
    """Whether the run waits for the archive, and none of its chunks is being worked on."""
    found = [each for each in obstacles.current(scene.engine) if each.kind == "archive host"]
    return [each.run_ids for each in found] == [(run_id,)] and not scene.rows(
        "SELECT FROM chunk WHERE state = 'claimed'"
    )
