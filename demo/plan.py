"""The plan of the sample archive: which products show which scene, and the states of the files."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from mernet.demo.camera import SHAPES, Cut
from mernet.demo.raw_product import Edr, clock_of, time_of
from mernet.demo.scenes import Scene, sample_scenes
from mernet.pds.product import ProductName, Rover

LARGEST_COUNTER = 1295
"""The last site or drive number that two characters of a name can hold."""


@dataclass(frozen=True, slots=True)
class Station:
    """The place of a rover on a sol."""

    sol: int
    site: int
    drive: int


STATIONS: dict[Rover, tuple[Station, ...]] = {
    Rover.OPPORTUNITY: (
        Station(1, 0, 0),
        Station(55, 5, 120),
        Station(190, 33, 416),
        Station(704, 64, 472),
        Station(990, 76, 664),
        Station(2650, 139, 1050),
        Station(4000, 194, 835),
        Station(4620, 1301, 1310),
    ),
    Rover.SPIRIT: (
        Station(1, 0, 0),
        Station(40, 6, 85),
        Station(155, 62, 301),
        Station(500, 106, 28),
        Station(1190, 128, 211),
        Station(1900, 137, 231),
        Station(2170, 138, 1400),
    ),
}


class Delivery(StrEnum):
    """The state of a file in the archive."""

    WHOLE = "whole"
    TRUNCATED = "truncated"
    MISSING = "not found"


@dataclass(frozen=True, slots=True)
class Take:
    """One file to write: its product, its cut of the picture, if a run selects it, its state."""

    edr: Edr
    cut: Cut
    wanted: bool
    delivery: Delivery = Delivery.WHOLE


@dataclass(frozen=True, slots=True)
class Shot:
    """A scene and all the files that show it; the one that a run selects comes first."""

    scene: Scene
    takes: tuple[Take, ...]


@dataclass(frozen=True, slots=True)
class Extra:
    """A file that no run selects; one of `every` shots has it, beginning with shot `first`."""

    every: int
    first: int
    cut: Cut
    product_type: str
    eye: str = "L"
    filter: int = 2
    seconds_later: int = 0


EXTRAS = (
    Extra(12, 1, Cut.THUMBNAIL, "ETH"),
    Extra(12, 3, Cut.HALF, "EDN", eye="R"),
    Extra(12, 5, Cut.HALF, "EDN", filter=7, seconds_later=20),
    Extra(24, 7, Cut.PART, "ESF", seconds_later=40),
    Extra(24, 9, Cut.REFERENCE, "ERP"),
    Extra(24, 11, Cut.HALF, "EDN", filter=8, seconds_later=60),
)
COMPANDED_EVERY, LARGE_EVERY, LARGE_FIRST = 12, 6, 4
SUPERSEDED_EVERY, SUPERSEDED_FIRST = 24, 8
DELIVERIES = {2: Delivery.TRUNCATED, 6: Delivery.MISSING}
"""The shots whose selected product is not whole."""


def plan_archive(seed: int, products: int) -> list[Shot]:
    """Return the shots of an archive in which a run selects that many products, two not whole."""
    scenes = sample_scenes("archive", seed, products)
    rovers = [_rover(index, scene) for index, scene in enumerate(scenes)]
    counts = {rover: rovers.count(rover) for rover in STATIONS}
    turns = dict.fromkeys(STATIONS, 0)
    shots = []
    for index, (scene, rover) in enumerate(zip(scenes, rovers, strict=True)):
        station, hour = _place(rover, turns[rover], counts[rover])
        turns[rover] += 1
        main = _selected_take(index, rover, station, hour)
        shots.append(Shot(scene, (main, *_unselected_takes(index, main))))
    return shots


def _rover(index: int, scene: Scene) -> Rover:
    """Return the rover of a shot: only Opportunity found spherules, other shots alternate."""
    if "sph" in scene.labels or index % 2:
        return Rover.OPPORTUNITY
    return Rover.SPIRIT


def _place(rover: Rover, turn: int, turns: int) -> tuple[Station, float]:
    """Return the station and local hour of a rover's shot: stations in turn, hours ascending."""
    stations = STATIONS[rover]
    rounds = -(-turns // len(stations))
    return stations[turn % len(stations)], 9.5 + 6 * (turn // len(stations)) / rounds


def _selected_take(index: int, rover: Rover, station: Station, hour: float) -> Take:
    cut = Cut.FULL if index % LARGE_EVERY == LARGE_FIRST else Cut.HALF
    name = ProductName(
        rover=rover,
        camera="P",
        clock=clock_of(time_of(rover, station.sol, hour)),
        product_type="EFF" if cut is Cut.FULL else "EDN",
        site=_counter(station.site),
        drive=_counter(station.drive),
        sequence=f"P2{300 + index % 100}",
        eye="L",
        filter=2,
        producer="M",
        version="2" if _supersedes(index) else "1",
    )
    motion = (station.site, station.drive, 0, 34, 0)
    edr = Edr(name, station.sol, hour, motion, *SHAPES[cut], index % COMPANDED_EVERY == 0)
    return Take(edr, cut, wanted=True, delivery=DELIVERIES.get(index, Delivery.WHOLE))


def _unselected_takes(index: int, main: Take) -> Iterator[Take]:
    for extra in EXTRAS:
        if index % extra.every == extra.first:
            yield _unselected_take(
                main,
                extra.cut,
                product_type=extra.product_type,
                eye=extra.eye,
                filter=extra.filter,
                clock=main.edr.name.clock + extra.seconds_later,
            )
    if _supersedes(index):
        yield _unselected_take(main, main.cut, version="1")


def _unselected_take(main: Take, cut: Cut, **changes: str | int) -> Take:
    """Return a file that shows the same scene under a changed name, with its own cut."""
    lines, line_samples = SHAPES[cut]
    name = replace(main.edr.name, **changes)  # type: ignore[arg-type]  # keys are the name's fields
    edr = replace(main.edr, name=name, lines=lines, line_samples=line_samples, companded=False)
    return Take(edr, cut, wanted=False)


def _supersedes(index: int) -> bool:
    return index % SUPERSEDED_EVERY == SUPERSEDED_FIRST


def _counter(number: int) -> int | None:
    return number if number <= LARGEST_COUNTER else None
