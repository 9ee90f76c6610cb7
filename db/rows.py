"""A product as it goes into the ledger and comes out of it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ProductRow:
    """One image file in the archive, as the ledger keeps it.

    `product_id` is the 27-character name in upper case; `start_time` is aware; `lines` and
    `line_samples` are pixels; `label_url` is None where the label is attached to the image;
    `source` is the URL of the archive that lists it, None where no listing says.
    """

    product_id: str
    rover: str
    sol: int | None
    site: int | None
    drive: int | None
    sequence: str
    start_time: datetime | None
    local_solar_time: str | None
    lines: int
    line_samples: int
    image_url: str
    label_url: str | None
    browse_url: str | None
    source: str | None = None
