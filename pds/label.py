"""What a label tells of an image, and the reading of single label values."""

from dataclasses import dataclass
from datetime import UTC, datetime

from mernet.pds.errors import OversizedError

MAX_PIXELS = 4096 * 4096
MAX_COUNTER = 2**31 - 1  # a damaged label may claim anything; this is what a ledger can keep
UNKNOWN = frozenset({"", "UNK", "N/A", "NULL"})


@dataclass(frozen=True, slots=True)
class LabelFacts:
    """The facts of an image's label that we use; None where the label does not know.

    `lines` and `line_samples` are pixels; `start_time` is in UTC; `sample_bit_mask` is the text of
    a PDS3 label, such as 2#0000111111111111#; `site` and `drive` are the first two numbers of the
    rover motion counter.
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
    """Raise OversizedError where a label claims more pixels than memory should be given for."""
    if facts.lines * facts.line_samples > MAX_PIXELS:
        raise OversizedError(
            f"{name} claims {facts.lines} x {facts.line_samples} pixels, more than any MER image"
        )


def text_or_none(value: object) -> str | None:
    """The value as text without control characters and blanks around it; None for UNK, N/A, NULL
    and no value."""
    text = "" if value is None else "".join(filter(str.isprintable, str(value))).strip()
    return None if text.upper() in UNKNOWN else text


def whole_or_none(value: object) -> int | None:
    """The value as a whole number; None where it is unknown or no whole number."""
    try:
        return int(str(value))
    except ValueError:
        return None


def counter_or_none(value: object) -> int | None:
    """The value as a sol, site or drive number: whole, from 0 to 2**31 - 1; None otherwise."""
    number = whole_or_none(value)
    return number if number is not None and 0 <= number <= MAX_COUNTER else None


def time_or_none(value: object) -> datetime | None:
    """The value, a UTC time with or without Z, as an aware datetime; None where it is no time."""
    try:
        time = datetime.fromisoformat(str(value).strip())
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
