"""Draws a share of images for labelling from every stratum, such as each site of a rover."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Hashable, Mapping

from mernet.model.errors import DataSetError

ROUNDING = 1e-9
"""Keeps a product such as 0.07 * 100, in floating point just above 7, from becoming 8."""


def draw_sample(strata: Mapping[str, Hashable], fraction: float, seed: int = 0) -> frozenset[str]:
    """The names drawn at random: of each stratum `fraction` of its names, rounded up.

    `strata` gives the stratum of each name. Rounded up, so that every stratum gets at least one.
    Each name gets a number from its sha256 with the seed, and the lowest numbers of a stratum are
    drawn: the order of names plays no part, nor what other strata hold, and a longer list keeps
    most of what a shorter one drew. Raises DataSetError where the fraction is not in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise DataSetError(f"the fraction {fraction:g} must be above 0 and at most 1")
    members = defaultdict(list)
    for name, stratum in strata.items():
        members[stratum].append(name)
    drawn: set[str] = set()
    for names in members.values():
        count = math.ceil(fraction * len(names) - ROUNDING)
        drawn.update(sorted(names, key=lambda name: _number(name, seed))[: max(1, count)])
    return frozenset(drawn)


def _number(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} {name}".encode()).digest()
