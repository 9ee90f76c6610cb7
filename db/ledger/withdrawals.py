"""Withdrawals: what archives list no more is marked, unless that is too much to be believed."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from mernet.db.errors import ListingRefused

FEW = 100
"""So many products of an archive may be withdrawn at once, however few it has."""

TENTH = 10
"""And so may one of this many: a half-written index loses more."""

# The twelfth character of a name is E for raw products: a listing of those says nothing about
# derived ones.
_LISTED_BEFORE = """
source = ANY (:sources) AND withdrawn_at IS NULL
AND (:products = 'any' OR (substr(product_id, 12, 1) = 'E') = (:products = 'edr'))
"""

COUNT_LISTED = sa.text(
    f"SELECT source, count(*) AS products FROM product WHERE {_LISTED_BEFORE} GROUP BY source"
)

# A lower version than the one listed is superseded, not withdrawn.
WITHDRAW = sa.text(f"""
WITH gone AS (
    UPDATE product SET withdrawn_at = now()
    WHERE {_LISTED_BEFORE} AND NOT EXISTS (
        SELECT FROM (
            SELECT product_id FROM listed UNION ALL SELECT unnest(CAST(:doubtful AS text[]))
        ) AS present
        WHERE left(present.product_id, 26) = product.name_key
          AND right(present.product_id, 1) >= product.version
    )
    RETURNING source
)
SELECT source, count(*) AS products FROM gone GROUP BY source
""")


def count_listed(
    connection: sa.Connection, sources: Sequence[str], products: str
) -> Mapping[str, int]:
    """How many products of each source, of the kind 'edr', 'rdr' or 'any', count as listed."""
    rows = connection.execute(COUNT_LISTED, {"sources": list(sources), "products": products})
    return {row.source: row.products for row in rows}


def withdraw(
    connection: sa.Connection, sources: Sequence[str], products: str, doubtful: Sequence[str]
) -> Mapping[str, int]:
    """Mark what is neither in the temporary table `listed` nor in `doubtful`; how many by source.

    `doubtful` are product ids that the sources list, though nothing else is known of them.
    """
    values = {"sources": list(sources), "products": products, "doubtful": list(doubtful)}
    return {row.source: row.products for row in connection.execute(WITHDRAW, values)}


def refuse_many(withdrawn: Mapping[str, int], listed_before: Mapping[str, int]) -> None:
    """Raise `ListingRefused` if a source lost more than FEW products and more than a tenth."""
    for source, gone in withdrawn.items():
        before = listed_before[source]
        if gone > max(FEW, before / TENTH):
            raise ListingRefused(
                f"{source} lists {gone} of the {before} products known from it no more, as if its "
                "index were half written, so nothing was changed; look again later or, if they are "
                "withdrawn indeed, use `mernet run new --withdraw-many`."
            )
