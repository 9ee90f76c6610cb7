"""The 25 MERNet classes in chain order; the order is part of every checkpoint."""

from dataclasses import dataclass
from enum import StrEnum


class ClassGroup(StrEnum):
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
    group: ClassGroup


_TABLE_1 = (
    ("rod", "Rover deck", ClassGroup.MINORITY),
    ("pct", "Pancam calibration target", ClassGroup.EXTREME_MINORITY),
    ("arh", "Arm hardware", ClassGroup.EXTREME_MINORITY),
    ("ohw", "Other hardware", ClassGroup.EXTREME_MINORITY),
    ("rtr", "Rover tracks", ClassGroup.MAJORITY),
    ("sot", "Soil trench", ClassGroup.EXTREME_MINORITY),
    ("rab", "RAT brushed target", ClassGroup.EXTREME_MINORITY),
    ("rah", "RAT hole", ClassGroup.EXTREME_MINORITY),
    ("roc", "Outcrop rocks", ClassGroup.MAJORITY),
    ("flr", "Float rocks", ClassGroup.MAJORITY),
    ("cla", "Clasts", ClassGroup.MAJORITY),
    ("rmi", "Misc. rocks", ClassGroup.MINORITY),
    ("bso", "Bright soil", ClassGroup.EXTREME_MINORITY),
    ("dur", "Dunes/ripples", ClassGroup.MAJORITY),
    ("rlf", "Rock (linear feature)", ClassGroup.MAJORITY),
    ("rrf", "Rock (round feature)", ClassGroup.MINORITY),
    ("soi", "Soil", ClassGroup.MAJORITY),
    ("ast", "Astronomy", ClassGroup.EXTREME_MINORITY),
    ("sph", "Spherules", ClassGroup.MAJORITY),
    ("div", "Distant vista", ClassGroup.MAJORITY),
    ("sky", "Sky", ClassGroup.MAJORITY),
    ("clr", "Close-up rock", ClassGroup.EXTREME_MINORITY),
    ("nbs", "Nearby surface", ClassGroup.MAJORITY),
    ("rpa", "Rover parts", ClassGroup.MAJORITY),
    ("art", "Artifacts", ClassGroup.EXTREME_MINORITY),
)

CLASSES: tuple[ImageClass, ...] = tuple(
    ImageClass(position, *row) for position, row in enumerate(_TABLE_1, start=1)
)
CODES: tuple[str, ...] = tuple(image_class.code for image_class in CLASSES)
