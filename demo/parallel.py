"""Drawing in several processes."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

ITEMS_PER_TASK = 4

CountCallback = Callable[[int, int], None]
"""Gets the number of items done and the number of all items."""


def map_in_processes(
    function: Callable[[Item], Result], items: Sequence[Item], processes: int | None = None
) -> Iterator[Result]:
    """Yield the function's result for each item, in the order of the items.

    The processes ignore Ctrl-C, which only this process handles: they finish the items that they
    have begun.

    Args:
        function: A function that can be pickled.
        items: Its arguments.
        processes: How many processes compute; None for one a core. With 1, this process computes.
    """
    processes = processes or os.cpu_count() or 1
    if processes == 1:
        yield from map(function, items)
        return
    with ProcessPoolExecutor(
        processes,
        mp_context=get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    ) as pool:
        yield from pool.map(function, items, chunksize=ITEMS_PER_TASK)
