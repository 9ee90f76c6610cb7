"""The facts in an image's label, and the parsing of single label values."""

from dataclasses import dataclass
from datetime import UTC, datetime

from mernet.pds.errors import OversizedError

MAX_PIXELS = 4096 * 4096
MAX_COUNTER = 2**31 - 1  # damaged labels may claim more; an integer column cannot store more
UNKNOWN = frozenset({"", "UNK", "N/A", "NULL"})


@dataclass(frozen=True, slots=True)
class LabelFacts:
    """The facts of an image's label that the service uses; None if the label does not have them.

    `lines` and `line_samples` are in pixels; `start_time` is in UTC; `site` and `drive` are the
    first two numbers of the rover motion counter; `sample_bit_mask` is the text of a PDS3 label,
    such as 2#0000111111111111#.
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


def check_size(facts: LabelFacts, name: str) -> None:
    """Raise OversizedError for a label that claims more than MAX_PIXELS; memory is limited."""
    if facts.lines * facts.line_samples > MAX_PIXELS:
        raise OversizedError(
            f"{name} claims {facts.lines} x {facts.line_samples} pixels, more than any MER image"
        )


def text_or_none(value: object) -> str | None:
    """Return a value as text without control characters and surrounding blanks.

    None stands for UNK, N/A, NULL and no value.
    """
    text = "" if value is None else "".join(filter(str.isprintable, str(value))).strip()
    return None if text.upper() in UNKNOWN else text


def whole_or_none(value: object) -> int | None:
    """Return a value as a whole number, None if it is not one."""
    try:
        return int(str(value))
    except ValueError:
        return None


def counter_or_none(value: object) -> int | None:
    """Return a value as a sol, site or drive number, None if it is not one of 0 to 2**31 - 1."""
    number = whole_or_none(value)
    return number if number is not None and 0 <= number <= MAX_COUNTER else None


def time_or_none(value: object) -> datetime | None:
    """Return a UTC time, with or without Z, as an aware datetime; None if it is not a time."""
    try:
        time = datetime.fromisoformat(str(value).strip())
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
