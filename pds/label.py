"""The facts in an image's label, and the parsing of single label values."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mernet.pds.errors import OversizedError

MAX_PIXELS = 4096 * 4096
MAX_COUNTER = 2**31 - 1  # damaged labels may claim more; an integer column cannot store more
MAX_TEXT = 200  # characters of a fact
UNKNOWN = frozenset({"", "UNK", "N/A", "NULL"})
YEARS = (1960, 2100)
MAX_NUMBER = 30  # characters
WHOLE = re.compile(r"[-+]?[0-9]+(?:\.0*)?")
BASED = re.compile(r"([2-9]|1[0-6])#([-+]?[0-9A-Fa-f]{1,30})#")  # such as 16#FF#
NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
TIME = re.compile(
    r"(\d{4}-(?:\d{2}-\d{2}|\d{3}))"  # a date, or a day of the year
    r"(?:[Tt ]([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d|60)(?:\.(\d{1,30}))?)?)?"
    r"([Zz]|[-+](?:[01]\d|2[0-3]):?[0-5]\d)?",
    re.ASCII,
)
SOLAR_TIME = re.compile(r"([01]?\d|2[0-4]):[0-5]\d(:[0-5]\d(\.\d{1,6})?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class LabelFacts:
    """The facts of an image's label that the service uses; None if the label does not have them.

    `lines` and `line_samples` are in pixels; `start_time` is in UTC; `site` and `drive` are the
    first two numbers of the rover motion counter; `sample_bit_mask` is the text of a PDS3 label,
    such as 2#0000111111111111#. `missing_share` is the share of pixels that were not received.
    """

    lines: int
    line_samples: int
    product_id: str | None
    data_set_id: str | None
    sol: int | None
    site: int | None
    drive: int | None
    start_time: datetime | None
    local_solar_time: str | None
    filter_name: str | None
    sample_bit_mask: str | None
    missing_share: float | None = None


def check_size(facts: LabelFacts, name: str) -> None:
    """Raise OversizedError for a label that claims more than MAX_PIXELS; memory is limited."""
    if facts.lines * facts.line_samples > MAX_PIXELS:
        raise OversizedError(
            f"{name} claims {facts.lines} x {facts.line_samples} pixels, more than any MER image"
        )


def text_or_none(value: object) -> str | None:
    """Return a value as text without control characters and surrounding blanks.

    None stands for UNK, N/A, NULL, no value, and a text of more than MAX_TEXT characters.
    """
    text = "" if value is None else "".join(filter(str.isprintable, str(value))).strip()
    return None if text.upper() in UNKNOWN or len(text) > MAX_TEXT else text


def whole_or_none(value: object) -> int | None:
    """Return a value as a whole number, None if it is not one.

    1024.0 and 1.024E3 are, and numbers of another base, such as 16#400#.
    """
    text = str(value).strip()
    if based := BASED.fullmatch(text):
        return based_number(based)
    if len(text) > MAX_NUMBER or not NUMBER.fullmatch(text):
        return None
    if WHOLE.fullmatch(text):
        return int(text.partition(".")[0])
    number = float(text)
    return int(number) if number.is_integer() and abs(number) <= MAX_COUNTER else None


def based_number(match: re.Match[str]) -> int | None:
    """Return the number that BASED has matched, None if it has digits that its base has not."""
    try:
        return int(match[2], int(match[1]))
    except ValueError:
        return None


def counter_or_none(value: object) -> int | None:
    """Return a value as a sol, site or drive number, None if it is not one of 0 to 2**31 - 1."""
    number = whole_or_none(value)
    return number if number is not None and 0 <= number <= MAX_COUNTER else None


def time_or_none(value: object) -> datetime | None:
    """Return a UTC time, with or without Z, as an aware datetime; None if it is not a time.

    As in the PDS3 Standards Reference, chapter 7, the date may be a day of the year (2004-025), and
    second 60 is a leap second, which becomes the following second. A time that no rover can have
    is no time.
    """
    match = TIME.fullmatch(str(value).strip())
    if match is None:
        return None
    date, hour, minute, second, fraction, zone = match.groups()
    try:
        day = datetime.strptime(date, "%Y-%m-%d" if date.count("-") == 2 else "%Y-%j")
        offset = timedelta(
            seconds=int(second or 0), microseconds=int((fraction or "")[:6].ljust(6, "0"))
        )
        time = day.replace(hour=int(hour or 0), minute=int(minute or 0), tzinfo=UTC) + offset
        time -= _zone_offset(zone)
    except (ValueError, OverflowError):
        return None
    if str(day.year) != date[:4]:  # day 366 of another year, which strptime accepts
        return None
    return time if YEARS[0] <= time.year < YEARS[1] else None


def solar_time_or_none(value: object) -> str | None:
    """Return a local true solar time (hh:mm or hh:mm:ss), None if it is not one."""
    text = text_or_none(value)
    return text if text and SOLAR_TIME.fullmatch(text) else None


def _zone_offset(zone: str | None) -> timedelta:
    """Return what a time is ahead of UTC."""
    if zone is None or zone in "Zz":
        return timedelta()
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    return -offset if zone[0] == "-" else offset
