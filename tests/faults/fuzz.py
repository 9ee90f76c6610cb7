"""Gives malformed inputs to all readers: only our errors, no hang over 5 s, no growth over 1 GB.

`main(seed, count)` does so and prints figures; a number from the command line is seed, then count.
Each input depends on the seed and its own number alone. Inputs are given in processes of their
own, in batches, so that one that hangs or ends its process is found and the others go on.
"""

import multiprocessing
import os
import random
import resource
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from fixtures.mutations import INPUTS, Input, mutated, read_input
from fixtures.outside_inputs import OUTSIDE
from mernet.errors import MernetError

BATCH = 500
SECONDS = 5.0
STARTING_SECONDS = 30.0
GROWTH_BYTES = 2**30
LONGEST_MESSAGE = 2_000
KINDS = [*INPUTS, *OUTSIDE]


@dataclass(slots=True)
class Figures:
    """What became of the inputs: numbers by kind and result, and what should not have been."""

    results: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0
    growth: int = 0


def malformed(seed: int, number: int) -> Input:
    """Return the input with this number; half of all are of an archive."""
    chance = random.Random(f"{seed} {number}")
    kind = chance.choice(list(INPUTS) if chance.random() < 0.5 else list(OUTSIDE))
    right = INPUTS[kind] if kind in INPUTS else OUTSIDE[kind][0]
    return Input(kind, mutated(right, chance))


def give(given: Input) -> str:
    """Give an input to its reader; return "read" or "refused", or what went wrong."""
    try:
        if given.kind in OUTSIDE:
            OUTSIDE[given.kind][1](given.data)
        else:
            read_input(given)
    except MernetError as error:
        if not str(error).isprintable() or len(str(error)) > LONGEST_MESSAGE:
            return f"message of {type(error).__name__} is long or not printable: {error!r:.200}"
        return "refused"
    except BaseException as error:  # noqa: BLE001  # what is looked for
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {where.filename}:{where.lineno}: {error!s:.200}"
    return "read"


def _work(seed: int, start: int, end: int, results: Connection) -> None:
    """Give a batch of inputs; send the number of each before, and its result after."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + GROWTH_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries report damaged pictures there
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(start, end):
        given = malformed(seed, number)
        results.send((number, given.kind, None, 0))
        result = give(given)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        results.send((number, given.kind, result, grown * 1024))


def _run_batch(seed: int, start: int, end: int, figures: Figures) -> int:
    """Give inputs from `start` on; return the number at which to go on."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(seed, start, end, sender), daemon=True)
    child.start()
    sender.close()
    number, kind, began, limit = start, "start", time.monotonic(), STARTING_SECONDS
    try:
        while number < end:
            if not receiver.poll(limit):
                figures.faults.append(f"{kind} {number}: hung for {limit:g} s")
                return number + 1
            number, kind, result, grown = receiver.recv()
            limit = SECONDS
            if result is None:
                began = time.monotonic()
                continue
            figures.slowest = max(figures.slowest, time.monotonic() - began)
            figures.growth = max(figures.growth, grown)
            if result in ("read", "refused"):
                figures.results[f"{kind}: {result}"] += 1
            else:
                figures.faults.append(f"{kind} {number}: {result}")
            number += 1
    except EOFError:
        child.join()
        figures.faults.append(f"{kind} {number}: its process ended with {child.exitcode}")
        return number + 1
    finally:
        child.kill()
        child.join()
        receiver.close()
    return end


def main(seed: int = 0, count: int = 100_000) -> int:
    """Give `count` inputs, print the figures, and return 1 if something went wrong, else 0."""
    figures = fuzz(seed, count)
    for name in sorted(figures.results):
        print(f"{figures.results[name]:8} {name}")
    print(
        f"{count} inputs, seed {seed}: {len(figures.faults)} faults, slowest "
        f"{figures.slowest:.2f} s, growth {figures.growth / 2**20:.0f} MB"
    )
    for fault in figures.faults[:200]:
        print(fault)
    return 1 if figures.faults else 0


def fuzz(seed: int, count: int) -> Figures:
    """Give `count` inputs and return the figures."""
    figures = Figures()
    number = 0
    while number < count:
        end = min(count, number - number % BATCH + BATCH)
        number = _run_batch(seed, number, end, figures)
    return figures


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3])))
