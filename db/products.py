"""Products as they go into the product table and come out of it."""

from dataclasses import dataclass, fields
from datetime import datetime

import sqlalchemy as sa

from mernet.db.engine import transaction
from mernet.db.tables import product, run_product


@dataclass(frozen=True, slots=True)
class ProductRow:
    """One image file in the archive, as the product table stores it.

    Attributes:
        product_id: The 27-character name in upper case.
        rover: The rover's name.
        sol: The Martian day of the mission.
        site: The site that coordinates refer to.
        drive: The drive, counted from the site.
        sequence: The command sequence that took the image.
        start_time: When the image was taken, with a time zone.
        local_solar_time: The local true solar time, as the archive writes it.
        lines: The image's height in pixels.
        line_samples: The image's width in pixels.
        image_url: URL of the image file.
        label_url: URL of the label, None if the label is attached to the image.
        browse_url: URL of the archive's own 8-bit picture.
        source: URL of the archive that lists the product, None if no listing names it.
        collection: 'archive', or 'own' for an image in a folder of the user's.
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
    collection: str = "archive"


PRODUCT_COLUMNS = tuple(field.name for field in fields(ProductRow))


def chunk_products(connection: sa.Connection, run_id: int, number: int) -> tuple[ProductRow, ...]:
    """Return the products of a chunk, sorted by name."""
    rows = connection.execute(
        sa.select(*(product.c[name] for name in PRODUCT_COLUMNS))
        .join(run_product, run_product.c.product_id == product.c.product_id)
        .where(run_product.c.run_id == run_id, run_product.c.chunk_number == number)
        .order_by(product.c.product_id)
    )
    return tuple(ProductRow(*row) for row in rows)


OTHERS_OF_SOURCE = sa.text("""
SELECT image_url FROM (
    (SELECT product.image_url, 1 AS rank
    FROM product JOIN outcome USING (product_id)
    WHERE product.source IS NOT DISTINCT FROM :source AND product.withdrawn_at IS NULL
      AND product.image_url <> :image_url AND outcome.state = 'classified'
    LIMIT 100)
    UNION ALL
    (SELECT image_url, 2 AS rank
    FROM product
    WHERE source IS NOT DISTINCT FROM :source AND withdrawn_at IS NULL
      AND image_url <> :image_url
    LIMIT 100)
) AS other
GROUP BY image_url ORDER BY min(rank), random() LIMIT :count
""")


@transaction
def others_of_source(
    connection: sa.Connection, source: str | None, image_url: str, count: int
) -> list[str]:
    """Return the URLs of a few other images that the archive with this URL lists.

    Those that were classified before come first, since they are most likely to be there.
    """
    return list(
        connection.scalars(
            OTHERS_OF_SOURCE, {"source": source, "image_url": image_url, "count": count}
        )
    )
