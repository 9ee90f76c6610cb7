"""Products: image files of the archive, identified by their 27-character names."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from mernet.pds.errors import BadNameError
from mernet.printable import quoted

LENGTH = 27
DIGIT, LETTER, EITHER, COUNTER = "0-9", "A-Z", "0-9A-Z", "0-9A-Z#_"
ALLOWED = (
    ["1-4", "PNFRME"]  # rover, camera
    + [DIGIT] * 9  # spacecraft clock
    + [EITHER] * 3  # product type
    + [COUNTER] * 4  # site, drive
    + [LETTER, *[DIGIT] * 4]  # sequence
    + ["LRMNB", "0-8", LETTER, EITHER]  # eye, filter, producer, version
)
IN_WORDS = {
    DIGIT: "a digit",
    LETTER: "a letter from A to Z",
    EITHER: "a letter from A to Z or a digit",
    COUNTER: "a letter from A to Z, a digit, # or _",
    "0-8": "a digit from 0 to 8",
    "1-4": "a digit from 1 to 4",
}
NAME = re.compile("".join(f"[{characters}]" for characters in ALLOWED))


class Rover(StrEnum):
    """The rover, given by a name's first character."""

    OPPORTUNITY = "Opportunity"
    SPIRIT = "Spirit"
    GROUND_MODEL_3 = "Ground model 3"
    GROUND_MODEL_4 = "Ground model 4"

    @property
    def is_on_mars(self) -> bool:
        """Whether the rover is on Mars, not a ground model."""
        return self in (Rover.OPPORTUNITY, Rover.SPIRIT)


ROVERS = dict(zip("1234", Rover, strict=True))
CODES = {rover: code for code, rover in ROVERS.items()}


@dataclass(frozen=True, slots=True)
class ProductName:
    """The parts of a MER product name (MER camera EDR/RDR naming convention).

    `clock` is in spacecraft seconds; `site` and `drive` are None if the counter exceeds its two
    characters (`##`); `camera`, `product_type`, `sequence`, `eye`, `producer` and `version` are
    upper-case text; `filter` is 0 to 8.
    """

    rover: Rover
    camera: str
    clock: int
    product_type: str
    site: int | None
    drive: int | None
    sequence: str
    eye: str
    filter: int
    producer: str
    version: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a product id or a file name, in upper or lower case, with or without extension.

        Raises:
            BadNameError: The text is not a product name; the message says which character is wrong.
        """
        name = text.partition(".")[0].upper()
        if not NAME.fullmatch(name):
            raise BadNameError(_describe_wrong_character(text, name))
        return cls(
            rover=ROVERS[name[0]],
            camera=name[1],
            clock=int(name[2:11]),
            product_type=name[11:14],
            site=_parse_counter(text, name, 14),
            drive=_parse_counter(text, name, 16),
            sequence=name[18:23],
            eye=name[23],
            filter=int(name[24]),
            producer=name[25],
            version=name[26],
        )

    def __str__(self) -> str:
        """Return the 27 upper-case characters of the PRODUCT_ID."""
        return self.image + self.version

    @property
    def image(self) -> str:
        """The name without its version: the same for all versions of one image."""
        return (
            f"{CODES[self.rover]}{self.camera}{self.clock:09d}{self.product_type}"
            f"{_counter_text(self.site)}{_counter_text(self.drive)}"
            f"{self.sequence}{self.eye}{self.filter}{self.producer}"
        )

    @property
    def file_stem(self) -> str:
        """The file name without extension, as in most volumes: lower case, `__` for `##`."""
        return str(self).lower().replace("#", "_")

    def supersedes(self, other: "ProductName") -> bool:
        """Return whether this is a higher version (digits, then letters) of the other's image."""
        return self.image == other.image and self.version > other.version


@dataclass(frozen=True, slots=True)
class Product:
    """One image of an archive with the facts in its listing; its file is not fetched yet.

    URLs are http(s):// or file://. `label_url` is the detached PDS4 label; None means an attached
    PDS3 label. `lines` and `line_samples` are in pixels, `start_time` is in UTC, `local_solar_time`
    is the label's text (hh:mm:ss). `site` and `drive` come from the name or, if the name has `##`,
    from the rover motion counter. `source` is the URL of the archive, and `is_own`
    says whether that is a folder of the user's; `list_products` sets both.
    """

    name: ProductName
    image_url: str
    label_url: str | None
    browse_url: str | None
    lines: int
    line_samples: int
    sol: int | None
    site: int | None
    drive: int | None
    start_time: datetime | None
    local_solar_time: str | None
    source: str | None = None
    is_own: bool = False

    @property
    def product_id(self) -> str:
        """The 27 upper-case characters."""
        return str(self.name)


def _parse_counter(text: str, name: str, start: int) -> int | None:
    """Parse a site or drive number: 00-99, A0-ZZ from 100, 0A-9Z from 1036; None for `##`.

    00-ZZ agrees with ROVER_MOTION_COUNTER in the labels of 8 real files (B1 is 137, UF is 835);
    0A-9Z is derived from the documented range of 0 to 1295.
    """
    pair = name[start : start + 2]
    if pair.isdigit():
        return int(pair)
    if pair in ("##", "__"):
        return None
    if not pair.isalnum():
        raise BadNameError(
            f"{quoted(text)} is not a product name: characters {start + 1} and {start + 2} are "
            f"{pair!r}; both must be letters or digits, or both '#' (in file names '_')"
        )
    high, low = int(pair[0], 36), int(pair[1], 36)
    if pair[0].isalpha():
        return 100 + (high - 10) * 36 + low
    return 1036 + high * 26 + (low - 10)


def _counter_text(number: int | None) -> str:
    """Return the two characters of a site or drive number, the inverse of `_parse_counter`."""
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    if number is None:
        return "##"
    if number < 100:
        return f"{number:02d}"
    if number < 1036:
        high, low = divmod(number - 100, 36)
        return digits[high + 10] + digits[low]
    high, low = divmod(number - 1036, 26)
    return digits[high] + digits[low + 10]


def _describe_wrong_character(text: str, name: str) -> str:
    """Return a sentence about the first wrong character of a name, or about its length."""
    for position, (character, allowed) in enumerate(zip(name, ALLOWED, strict=False), start=1):
        if not re.fullmatch(f"[{allowed}]", character):
            return (
                f"{quoted(text)} is not a product name: character {position} is {character!r}, "
                f"but {_in_words(allowed)} belongs there"
            )
    return (
        f"{quoted(text)} is not a product name: it has {len(name)} characters instead of {LENGTH}"
    )


def _in_words(allowed: str) -> str:
    """Return which characters belong at a place of a name."""
    return IN_WORDS.get(allowed) or f"one of {', '.join(allowed[:-1])} or {allowed[-1]}"
