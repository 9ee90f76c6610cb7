"""Draws a random share of images for labelling from every stratum, such as each site of a rover."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Hashable, Mapping

from mernet.model.errors import DataSetError

ROUNDING = 1e-9
"""Prevents 0.07 * 100, which is slightly above 7 in floating point, from being rounded up to 8."""


def draw_sample(strata: Mapping[str, Hashable], fraction: float, seed: int = 0) -> frozenset[str]:
    """Draw `fraction` of the names of each stratum at random, rounded up: at least one of each.

    Each name gets a number from its SHA-256 with the seed, and the lowest numbers of a stratum are
    drawn. The result therefore does not depend on the order of the names or on other strata, and a
    longer list keeps most names that a shorter one drew.

    Args:
        strata: The stratum of each name.
        fraction: Share of the names to draw.
        seed: Seed of the random numbers.

    Raises:
        DataSetError: The fraction is not in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise DataSetError(f"the fraction {fraction:g} must be above 0 and at most 1")
    members = defaultdict(list)
    for name, stratum in strata.items():
        members[stratum].append(name)
    drawn: set[str] = set()
    for names in members.values():
        count = math.ceil(fraction * len(names) - ROUNDING)
        drawn.update(sorted(names, key=lambda name: _random_number(name, seed))[: max(1, count)])
    return frozenset(drawn)


def _random_number(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} {name}".encode()).digest()
