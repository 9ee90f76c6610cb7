"""The 25 MERNet classes in chain order; the order is part of every checkpoint."""

from dataclasses import dataclass
from enum import StrEnum


class Group(StrEnum):
    """How common a class is among labelled images: above 10%, 5 to 10%, below 5%."""

    MAJORITY = "majority"
    MINORITY = "minority"
    EXTREME_MINORITY = "extreme minority"


@dataclass(frozen=True, slots=True)
class ImageClass:
    """One class: its position in the chain (from 1), three-letter code, name and group."""

    position: int
    code: str
    name: str
    group: Group


_TABLE_1 = (
    ("rod", "Rover deck", Group.MINORITY),
    ("pct", "Pancam calibration target", Group.EXTREME_MINORITY),
    ("arh", "Arm hardware", Group.EXTREME_MINORITY),
    ("ohw", "Other hardware", Group.EXTREME_MINORITY),
    ("rtr", "Rover tracks", Group.MAJORITY),
    ("sot", "Soil trench", Group.EXTREME_MINORITY),
    ("rab", "RAT brushed target", Group.EXTREME_MINORITY),
    ("rah", "RAT hole", Group.EXTREME_MINORITY),
    ("roc", "Outcrop rocks", Group.MAJORITY),
    ("flr", "Float rocks", Group.MAJORITY),
    ("cla", "Clasts", Group.MAJORITY),
    ("rmi", "Misc. rocks", Group.MINORITY),
    ("bso", "Bright soil", Group.EXTREME_MINORITY),
    ("dur", "Dunes/ripples", Group.MAJORITY),
    ("rlf", "Rock (linear feature)", Group.MAJORITY),
    ("rrf", "Rock (round feature)", Group.MINORITY),
    ("soi", "Soil", Group.MAJORITY),
    ("ast", "Astronomy", Group.EXTREME_MINORITY),
    ("sph", "Spherules", Group.MAJORITY),
    ("div", "Distant vista", Group.MAJORITY),
    ("sky", "Sky", Group.MAJORITY),
    ("clr", "Close-up rock", Group.EXTREME_MINORITY),
    ("nbs", "Nearby surface", Group.MAJORITY),
    ("rpa", "Rover parts", Group.MAJORITY),
    ("art", "Artifacts", Group.EXTREME_MINORITY),
)

CLASSES: tuple[ImageClass, ...] = tuple(
    ImageClass(position, *row) for position, row in enumerate(_TABLE_1, start=1)
)
CODES: tuple[str, ...] = tuple(image_class.code for image_class in CLASSES)
