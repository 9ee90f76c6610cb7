"""Archives that have moved: their products, with their results, are at another address now."""

import sqlalchemy as sa

from mernet.db.engine import transaction
from mernet.db.errors import UnknownArchive
from mernet.printable import printable

EXAMPLES = 5
"""How many archives an error names."""


def _moved(url: str) -> str:
    """Return the SQL of a URL's new form; those that are elsewhere stay as they are."""
    return f"""CASE WHEN starts_with({url}, :old)
        THEN CAST(:new AS text) || substr({url}, length(:old) + 1) ELSE {url} END"""


_PLACES = ("source", "image_url", "label_url")
PRODUCTS = sa.text(f"""
UPDATE product
SET (browse_url, {", ".join(_PLACES)}) = ({", ".join(map(_moved, ("browse_url", *_PLACES)))})
WHERE starts_with(source, :old)
""")

# Where runs listed products that other archives have, and what open chunks wait for.
MEMBERS = sa.text(f"""
UPDATE run_product SET ({", ".join(_PLACES)}) = ({", ".join(map(_moved, _PLACES))})
WHERE starts_with(source, :old)
""")
CHUNKS = sa.text(f"""
UPDATE chunk SET sources = ARRAY(SELECT {_moved("source")} FROM unnest(sources) AS source)
WHERE state IN ('ready', 'claimed')
  AND EXISTS (SELECT FROM unnest(sources) AS source WHERE starts_with(source, :old))
""")

# The next check reads both listings, whatever was known of them.
FORGET_LISTINGS = sa.text("""
DELETE FROM listing_state WHERE starts_with(source, :old) OR starts_with(source, :new)
""")

SOURCES = sa.text("""
SELECT DISTINCT source FROM product WHERE source IS NOT NULL ORDER BY 1 LIMIT :examples
""")


@transaction
def move_archive(connection: sa.Connection, old: str, new: str) -> int:
    """Give the products of archives below an old address the same places below a new one.

    Their outcomes stay. What they were is kept in `product_history`. Open runs read them at the new
    address.

    Args:
        connection: The function's own transaction; callers pass the engine.
        old: A URL that ends with a slash, with which the URLs of archives begin.
        new: The URL that takes its place, which ends with a slash, too.

    Returns:
        How many products have moved.

    Raises:
        UnknownArchive: No product's archive is there.
    """
    connection.exec_driver_sql("LOCK TABLE product IN SHARE ROW EXCLUSIVE MODE")
    connection.execute(sa.text("SELECT set_config('mernet.cause', 'moved to', true)"))
    key = {"old": old, "new": new}
    moved = connection.execute(PRODUCTS, key).rowcount
    if not moved:
        known = connection.scalars(SOURCES, {"examples": EXAMPLES}).all()
        raise UnknownArchive(
            f"No product's archive is at {printable(old)}; give the beginning of an archive's "
            f"address, such as {printable(', '.join(known) or 'none, as none is listed yet')}."
        )
    for statement in (MEMBERS, CHUNKS, FORGET_LISTINGS):
        connection.execute(statement, key)
    return moved
