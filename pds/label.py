"""What a label tells of an image, and the reading of single label values."""

from dataclasses import dataclass
from datetime import UTC, datetime

from pds.errors import OversizedError

MAX_PIXELS = 4096 * 4096
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
    """The value as text without blanks around it; None for UNK, N/A, NULL and no value."""
    text = "" if value is None else str(value).strip()
    return None if text.upper() in UNKNOWN else text


def whole_or_none(value: object) -> int | None:
    """The value as a whole number; None where it is unknown or no whole number."""
    text = text_or_none(value)
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def time_or_none(value: object) -> datetime | None:
    """The value, a UTC time with or without Z, as an aware datetime; None where it is no time."""
    text = text_or_none(value)
    try:
        time = None if text is None else datetime.fromisoformat(text)
        if time is None or time.tzinfo is None:
            return time and time.replace(tzinfo=UTC)
        return time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
