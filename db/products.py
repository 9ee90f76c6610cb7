"""Products as they go into the product table and come out of it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

import sqlalchemy as sa

from mernet.db.engine import transaction


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


FILE_COLUMNS = ("image_url", "label_url", "source", "lines", "line_samples")
"""What decides which bytes are read, and whether they are the product."""


LISTED_PLACE = {
    "source": "CASE WHEN {member}.image_url IS NULL THEN product.source ELSE {member}.source END",
    "image_url": "coalesce({member}.image_url, product.image_url)",
    "label_url": "CASE WHEN {member}.image_url IS NULL THEN product.label_url"
    " ELSE {member}.label_url END",
}
"""Where a run reads a product: where it listed it, if another archive has the product."""


def columns_as_listed(member: str) -> str:
    """Return the `PRODUCT_COLUMNS` of a SELECT from `product` and a run's member of this alias."""
    return ", ".join(
        f"{LISTED_PLACE.get(name, f'product.{name}').format(member=member)} AS {name}"
        for name in PRODUCT_COLUMNS
    )


CHUNK_PRODUCTS = sa.text(f"""
SELECT {columns_as_listed("run_product")}
FROM product JOIN run_product USING (product_id)
WHERE run_product.run_id = :run_id AND run_product.chunk_number = :number
ORDER BY product_id
""")


def chunk_products(connection: sa.Connection, run_id: int, number: int) -> tuple[ProductRow, ...]:
    """Return the products of a chunk, sorted by name, with the places where the run listed them."""
    rows = connection.execute(CHUNK_PRODUCTS, {"run_id": run_id, "number": number})
    return tuple(ProductRow(*row) for row in rows)


@dataclass(frozen=True, slots=True)
class OtherImage:
    """Another image of an archive, and the URL of its label, None if it is attached."""

    image_url: str
    label_url: str | None


_ANOTHER_THERE = """{table}.image_url <> :image_url
AND (starts_with({table}.image_url, :place) OR starts_with({table}.label_url, :place))
"""

OTHERS_OF_SOURCE = sa.text(f"""
SELECT image_url, label_url FROM (
    (SELECT product.image_url, product.label_url, 1 AS rank
    FROM product JOIN outcome USING (product_id)
    WHERE product.source IS NOT DISTINCT FROM :source AND product.withdrawn_at IS NULL
      AND outcome.state = 'classified' AND {_ANOTHER_THERE.format(table="product")}
    LIMIT 100)
    UNION ALL
    (SELECT image_url, label_url, 2 AS rank
    FROM product
    WHERE source IS NOT DISTINCT FROM :source AND withdrawn_at IS NULL
      AND {_ANOTHER_THERE.format(table="product")}
    LIMIT 100)
) AS other
GROUP BY image_url, label_url ORDER BY min(rank), random() LIMIT :count
""")


OTHERS_LISTED_AT_SOURCE = sa.text(f"""
SELECT DISTINCT image_url, label_url FROM run_product
WHERE source = :source AND {_ANOTHER_THERE.format(table="run_product")}
LIMIT :count
""")


@transaction
def others_of_source(
    connection: sa.Connection, source: str | None, image_url: str, place: str, count: int
) -> list[OtherImage]:
    """Return a few other images that the archive with this URL lists below a place.

    The image, or its label, is there. Those that were classified before come first, since they are
    most likely to be there. If it is no product's own archive, they are images that runs have
    listed there.
    """
    wanted = {"source": source, "image_url": image_url, "place": place, "count": count}
    found = connection.execute(OTHERS_OF_SOURCE, wanted).all()
    found = found or connection.execute(OTHERS_LISTED_AT_SOURCE, wanted).all()
    return [OtherImage(*row) for row in found]


OWN_IMAGES = sa.text("""
SELECT product_id, image_url FROM product
WHERE collection = 'own' AND product_id = ANY (:product_ids)
""")


@transaction
def own_images(connection: sa.Connection, product_ids: Sequence[str]) -> dict[str, str]:
    """Return the URLs of the images that folders have, by product, of these products.

    Args:
        connection: The function's own transaction; callers pass the engine.
        product_ids: The products.
    """
    rows = connection.execute(OWN_IMAGES, {"product_ids": list(product_ids)})
    return {row.product_id: row.image_url for row in rows}
