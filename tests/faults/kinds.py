"""The register of disturbances: what each does, when it strikes, and what it may cost."""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from enum import Enum

from faults.scene import Scene

Random = random.Random
Generate = Callable[[Scene, Random], Iterator[None]]
Inflict = Callable[[Scene, Random], AbstractContextManager[None]]


class NoEffect(AssertionError):
    """A disturbance did not do what it says, so nothing was shown."""


def require(is_so: object, what: str) -> None:
    """Check that a disturbance took effect."""
    if not is_so:
        raise NoEffect(f"without effect: {what}")


class Strikes(Enum):
    """What the service does when a disturbance begins."""

    AT_WORK = "while chunks are classified"
    LISTING = "while a run is listed"
    INGEST = "while `run new` lists"
    CHECK = "while a worker checks for new products"


@dataclass(frozen=True)
class Disturbance:
    """One kind of disturbance.

    Whatever it is, the run ends, is reconciled, and has the results of an undisturbed run.

    Attributes:
        name: What happens, in a few words.
        group: What it happens to.
        inflict: A context manager: it begins the disturbance, and ends it with the block.
        seconds: The shortest and longest time it lasts.
        strikes: What the service does when it begins.
        harms: Whether it harms one product, which then fails in this run; the next one classifies
            it. This is the only thing that a disturbance may cost.
        needs_results: Whether the archive has to be known. One that refuses the first request ever
            may be named wrongly, so a run over it fails at once, with the cause.
        why_not: Returns why it cannot be inflicted here, None if it can.
    """

    name: str
    group: str
    inflict: Inflict
    seconds: tuple[float, float] = (0.0, 0.0)
    strikes: Strikes = Strikes.AT_WORK
    harms: bool = False
    needs_results: bool = False
    why_not: Callable[[Scene], str | None] = lambda _: None


ALL: dict[str, Disturbance] = {}


def disturbance(
    name: str,
    group: str,
    seconds: tuple[float, float] = (0.0, 0.0),
    strikes: Strikes = Strikes.AT_WORK,
    harms: bool = False,
    why_not: Callable[[Scene], str | None] = lambda _: None,
) -> Callable[[Generate], Generate]:
    """Register a generator that yields while the disturbance lasts."""

    def register(generate: Generate) -> Generate:
        inflict = contextmanager(generate)
        _add(Disturbance(name, group, inflict, seconds, strikes, harms, why_not=why_not))
        return generate

    return register


def also(
    name: str,
    strikes: Strikes,
    seconds: tuple[float, float] | None = None,
    needs_results: bool = False,
) -> None:
    """Register a kind once more, which strikes at another time."""
    known = ALL[name]
    when = {Strikes.INGEST: "ingest", Strikes.CHECK: "scheduled ingest"}.get(strikes, "listing")
    _add(
        replace(
            known,
            name=f"{when}: {name}",
            group=when,
            strikes=strikes,
            seconds=seconds or known.seconds,
            needs_results=needs_results,
        )
    )


def _add(made: Disturbance) -> None:
    assert made.name not in ALL
    ALL[made.name] = made
