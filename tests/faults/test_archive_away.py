"""An archive that is down in mid-run, with the settings that operators have: the run waits."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.flaky_archive import FlakyArchive, Request, serve
from faults.test_interruptions import ROWS, SCORES, finished, queue_run, undisturbed
from mernet.demo.archive import write_archive

BACK_WITHIN = 30.0
THREE_MINUTES = 180.0
TRANSFERS_FAILED = "SELECT count(*) FROM run_product WHERE reason = 'transfer failed'"


class Archive(FlakyArchive):
    """An archive that notes when it hands out an image."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, 0.0, self.hand_out)
        self.handed_out: list[float] = []
        self.is_in_mid_run = threading.Event()
        self.images_before = 0

    def hand_out(self, request: Request) -> None:
        serve(request)
        if request.path.endswith(".img"):
            self.handed_out.append(time.monotonic())
            if len(self.handed_out) >= self.images_before:
                self.is_in_mid_run.set()

    def behaviour_for(self, path: str):
        return self.behaviour


@pytest.fixture
def make_archive(tmp_path: Path) -> Iterator:
    made: list[Archive] = []

    def make(products: int) -> Archive:
        write_archive(tmp_path / "archive", seed=11, products=products)
        made.append(Archive(tmp_path / "archive"))
        made[0].start()
        return made[0]

    yield make
    for archive in made:
        archive.stop()


@pytest.mark.parametrize(
    ("seconds", "products"),
    [
        pytest.param(10.0, 16, id="seconds"),
        pytest.param(
            THREE_MINUTES,
            100,
            id="three-minutes",
            marks=[pytest.mark.long, pytest.mark.timeout(900)],
        ),
    ],
)
def test_a_run_waits_for_an_archive_that_is_down_and_no_product_fails(
    seconds, products, make_archive, make_service
):
    archive = make_archive(products)
    expected = undisturbed(make_service(), archive.url)
    archive.images_before = len(archive.handed_out) + products // 4
    archive.is_in_mid_run.clear()

    service = make_service()
    queue_run(service, archive.url)
    with service.worker("--processes", "2"):
        assert archive.is_in_mid_run.wait(120), service.log()
        with archive.away():
            end = time.monotonic() + seconds
            service.wait_for("the run to wait", lambda: waits_for_archive(service, archive.url))
            time.sleep(max(0, end - time.monotonic()))
            assert waits_for_archive(service, archive.url)
            assert not finished(service)
        back = time.monotonic()
        service.wait_for("an image", lambda: archive.handed_out[-1] > back)
        at_work = archive.handed_out[-1] - back
        service.wait_for("the end of the run", lambda: finished(service))
        ended = time.monotonic() - back
    print(f"down for {seconds:.0f} s: at work after {at_work:.1f} s, ended after {ended:.1f} s")
    assert at_work < BACK_WITHIN
    assert not waits_for_archive(service, archive.url)
    assert service.rows(TRANSFERS_FAILED) == [(0,)]
    assert service.json("reconcile")["ok"]
    assert (service.rows(ROWS), service.rows(SCORES)) == expected


def waits_for_archive(service, url: str) -> bool:
    obstacles = service.rows("SELECT kind, subject FROM obstacle WHERE cleared_at IS NULL")
    return ("archive host", url.rstrip("/")) in obstacles
