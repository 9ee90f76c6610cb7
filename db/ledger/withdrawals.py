"""Withdrawals: products that an archive does not list any more are marked as withdrawn."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from mernet.db.errors import TooManyWithdrawn
from mernet.db.ledger.listed_table import Listed
from mernet.db.products import PRODUCT_COLUMNS

FEW = 100
"""This many products of an archive may always be withdrawn at once."""

TENTH = 10
"""And so may one of this many: an incomplete index loses more."""

# The twelfth character of a name is E for raw products: a listing of those does not concern
# derived ones.
_LISTED_BEFORE = """
source = ANY (:sources) AND withdrawn_at IS NULL
AND (:products = 'any' OR (substr(product_id, 12, 1) = 'E') = (:products = 'edr'))
"""

COUNT_LISTED = sa.text(
    f"SELECT source, count(*) AS products FROM product WHERE {_LISTED_BEFORE} GROUP BY source"
)

# A lower version than the one listed is superseded, not withdrawn.
_NOT_LISTED = f"""
{_LISTED_BEFORE} AND NOT EXISTS (
    SELECT FROM (
        SELECT product_id, source FROM listed
        UNION ALL SELECT unnest(CAST(:doubtful AS text[])), NULL
    ) AS present
    WHERE left(present.product_id, 26) = product.name_key
      AND right(present.product_id, 1) >= product.version
      AND coalesce(present.source, product.source) = product.source
)
"""

WITHDRAW = sa.text(f"""
WITH gone AS (
    UPDATE product SET withdrawn_at = now() WHERE {_NOT_LISTED} RETURNING source
)
SELECT source, count(*) AS products FROM gone GROUP BY source
""")

# An archive that was not read may list a withdrawn product: the next ingest of it reads it again.
FORGET_OTHER_LISTINGS = sa.text("DELETE FROM listing_state WHERE source <> ALL (:sources)")

COUNT_WITHDRAWN = sa.text("""
SELECT count(*) FROM product WHERE source = ANY (:sources) AND withdrawn_at = now()
""")

# Mirrors that lack a product, or list one otherwise than their archive did.
_OTHERWISE = ", ".join(f"listed.{name}" for name in PRODUCT_COLUMNS)
_AS_KNOWN = ", ".join(f"product.{name}" for name in PRODUCT_COLUMNS)
DIFFERING = sa.text(f"""
SELECT source FROM product WHERE {_NOT_LISTED}
UNION
SELECT listed.source FROM listed JOIN product USING (product_id)
WHERE (listed.source = ANY (:sources) OR listed.source = ANY (:searches))
  AND (product.withdrawn_at IS NOT NULL OR (
    product.source = listed.source AND ({_OTHERWISE}) IS DISTINCT FROM ({_AS_KNOWN})
  ))
""")

# Products of which no higher version is listed any more.
UNMARK_SUPERSEDED = sa.text("""
UPDATE product SET superseded = false
WHERE superseded AND source = ANY (:sources) AND NOT EXISTS (
    SELECT FROM product AS newer
    WHERE newer.name_key = product.name_key AND newer.version > product.version
      AND newer.source = product.source AND newer.withdrawn_at IS NULL
)
""")


def count_listed(
    connection: sa.Connection, sources: Sequence[str], products: str
) -> Mapping[str, int]:
    """Return how many products each source has that are not withdrawn.

    Args:
        connection: An open transaction.
        sources: URLs of archives.
        products: 'edr', 'rdr' or 'any'.
    """
    rows = connection.execute(COUNT_LISTED, {"sources": list(sources), "products": products})
    return {row.source: row.products for row in rows}


def withdraw(
    listed: Listed, sources: Sequence[str], products: str, doubtful: Sequence[str]
) -> Mapping[str, int]:
    """Mark the products as withdrawn that their source does not list any more.

    Args:
        listed: What the sources list now.
        sources: URLs of archives.
        products: 'edr', 'rdr' or 'any'.
        doubtful: Ids of products that the sources list, but whose label could not be read.

    Returns:
        How many products were marked, by source.
    """
    values = {"sources": list(sources), "products": products, "doubtful": list(doubtful)}
    withdrawn = {row.source: row.products for row in listed.connection.execute(WITHDRAW, values)}
    if withdrawn:
        listed.connection.execute(FORGET_OTHER_LISTINGS, {"sources": list(sources)})
    return withdrawn


def unmark_superseded(connection: sa.Connection, sources: Sequence[str]) -> None:
    """Take the mark from the products of which their sources list no higher version any more."""
    connection.execute(UNMARK_SUPERSEDED, {"sources": list(sources)})


def count_withdrawn(connection: sa.Connection, sources: Sequence[str]) -> int:
    """Return how many products of these sources this transaction has marked as withdrawn."""
    found: int = connection.execute(COUNT_WITHDRAWN, {"sources": list(sources)}).scalar_one()
    return found


def mirrors_that_differ(
    listed: Listed,
    sources: Sequence[str],
    products: str,
    doubtful: Sequence[str],
    searches: Sequence[str] = (),
) -> set[str]:
    """Return the sources whose mirrors list other than what the archives listed.

    That changes no product. The arguments are those of `withdraw`, and the sources of which only a
    part was listed.
    """
    values = {"sources": list(sources), "products": products, "doubtful": list(doubtful)}
    return set(listed.connection.scalars(DIFFERING, values | {"searches": list(searches)}))


def require_few_withdrawn(withdrawn: Mapping[str, int], listed_before: Mapping[str, int]) -> None:
    """Check that no source lost more than FEW products and more than a tenth of what it had.

    Raises:
        TooManyWithdrawn: A source did; its index may be damaged.
    """
    for source, gone in withdrawn.items():
        before = listed_before[source]
        if gone > max(FEW, before / TENTH):
            raise TooManyWithdrawn(
                f"{source} no longer lists {gone} of its {before} known products, so its index is "
                "probably incomplete and nothing was changed; try again later, or confirm that "
                "they are withdrawn.",
                source,
            )
