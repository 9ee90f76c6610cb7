"""Spreads drawing over processes; results come in the order of what was given."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

TAKEN_AT_ONCE = 4
"""Items that a process takes at a time."""


def mapped(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int | None = None
) -> Iterator[Result]:
    """The function's result for each item, computed by `workers` processes (default: all cores).

    With 1, this process computes itself. Ctrl-C is this process's matter: the others finish what
    they have begun and end.
    """
    workers = workers or os.cpu_count() or 1
    if workers == 1:
        yield from map(function, items)
        return
    with ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    ) as pool:
        yield from pool.map(function, items, chunksize=TAKEN_AT_ONCE)
