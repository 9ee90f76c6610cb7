"""Disturbances of archives: of all that they serve, or of one file."""

from collections.abc import Iterator

from faults import flaky_archive
from faults.flaky_archive import Behaviour
from faults.kinds import Generate, Random, Strikes, also, disturbance, require
from faults.scene import Scene

STRUCK_WITHIN = 20.0


def _archive_is(behaviour: Behaviour, suffix: str = "") -> Generate:
    """Let all files behave so, or the first of those whose name ends in `suffix`."""

    def inflict(scene: Scene, random: Random) -> Iterator[None]:
        with scene.archive.behaving(behaviour, suffix):
            scene.archive.release()
            struck = scene.wait_until(lambda: scene.archive.struck > 0, STRUCK_WITHIN)
            require(struck, f"nobody has asked for a file {suffix}")
            yield

    return inflict


ANSWERS = (
    ("answers 503", flaky_archive.busy(503)),
    ("answers 429 with Retry-After", flaky_archive.busy(429, Retry_After="1")),
    ("answers 500", flaky_archive.busy(500)),
    ("answers 403", flaky_archive.busy(403)),
    ("answers 408", flaky_archive.busy(408)),
    ("cuts bodies", flaky_archive.cut),
    ("sends slowly", flaky_archive.send_slowly),
    ("closes connections", flaky_archive.close_connections),
    ("states too short lengths", flaky_archive.short_length),
    ("states lengths that are no numbers", flaky_archive.strange_length),
    ("answers with a page of HTML", flaky_archive.html),
    ("redirects in a circle", flaky_archive.redirect_in_a_circle),
    ("redirects elsewhere", flaky_archive.redirect_elsewhere),
)
REFUSALS = ("answers 403", "redirects in a circle", "redirects elsewhere")
for _name, _behaviour in ANSWERS:
    disturbance(f"archive {_name}", "archive", (2, 8))(_archive_is(_behaviour))
    also(f"archive {_name}", Strikes.LISTING, (2, 5), needs_results=_name in REFUSALS)

OF_ONE_FILE = (
    ("answers 503", flaky_archive.busy(503)),
    ("cut", flaky_archive.cut),
    ("a page of HTML", flaky_archive.html),
)
for _name, _behaviour in OF_ONE_FILE:
    disturbance(f"one image: {_name}", "one file", (1, 3))(_archive_is(_behaviour, ".img"))
    for _what, _suffix in (("table", ".tab"), ("label", ".lbl")):
        disturbance(f"listing: one {_what}: {_name}", "one file", (1, 3), strikes=Strikes.LISTING)(
            _archive_is(_behaviour, _suffix)
        )

disturbance("all images answer 503, the index does not", "archive", (2, 8))(
    _archive_is(flaky_archive.only(".img", flaky_archive.busy(503)))
)
disturbance("listing: index half as long", "index", (1, 3), strikes=Strikes.LISTING)(
    _archive_is(flaky_archive.changing_index)
)
disturbance("ingest: index half as long", "ingest", (1, 3), strikes=Strikes.INGEST)(
    _archive_is(flaky_archive.changing_index)
)
disturbance("ingest: one table: answers 503", "ingest", (1, 3), strikes=Strikes.INGEST)(
    _archive_is(flaky_archive.busy(503), ".tab")
)
disturbance("ingest: one label: answers 503", "ingest", (1, 3), strikes=Strikes.INGEST)(
    _archive_is(flaky_archive.busy(503), ".lbl")
)


@disturbance("archive refuses connections", "archive", seconds=(2, 8))
def archive_away(scene: Scene, random: Random) -> Iterator[None]:
    with scene.archive.away():
        scene.archive.release()
        require(not scene.archive.answers(), "the archive answers")
        yield


also("archive refuses connections", Strikes.LISTING, (2, 5))
for _name in (
    "archive refuses connections",
    "archive answers 503",
    "archive cuts bodies",
    "archive answers with a page of HTML",
    "archive redirects elsewhere",
):
    also(_name, Strikes.INGEST, (2, 5))
for _name in ("archive refuses connections", "archive answers 503"):
    also(_name, Strikes.CHECK, (2, 5))
