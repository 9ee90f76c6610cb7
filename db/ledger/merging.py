"""Merges a listing into the product table by the rank of sources: an archive before a folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from mernet.db.ledger.listed_table import NAMES, Listed
from mernet.db.products import PRODUCT_COLUMNS
from mernet.db.publish import KNOWN_FROM_ELSEWHERE
from mernet.db.republish import lock_thresholds_for_publishing

# A product listed several times counts once: as the source lists it that has it already, else as an
# archive before a folder, else as it came first.
CHOSEN = f"""
SELECT DISTINCT ON (listed.product_id)
    {", ".join(f"listed.{name}" for name in PRODUCT_COLUMNS)}, listed.position
FROM listed LEFT JOIN product USING (product_id)
ORDER BY
    listed.product_id, coalesce(listed.source = product.source, false) DESC, listed.collection,
    listed.position
"""

# What an archive listed changes only if the archive itself, and not a mirror that may lag behind,
# lists it otherwise, or lists it no more. A folder's image gives way to an archive's. It is at
# another place only if its file is gone, or if there is no result of it, nor one in the making.
MAY_CHANGE = """
CASE
    WHEN {new}.collection = 'own' AND product.collection = 'archive' THEN false
    WHEN product.source IS NULL THEN true
    WHEN product.collection = 'archive' THEN NOT :at_mirror
        AND (product.source = {new}.source OR product.withdrawn_at IS NOT NULL)
    WHEN {new}.collection = 'archive' OR product.withdrawn_at IS NOT NULL THEN true
    ELSE (product.source, product.image_url) = ({new}.source, {new}.image_url)
        OR product.product_id = ANY (CAST(:moved AS text[]))
        OR NOT (product.product_id = ANY (CAST(:awaited AS text[])) OR EXISTS (
            SELECT FROM outcome
            WHERE outcome.product_id = product.product_id AND outcome.state = 'classified'
        ))
END
"""

# Own images that open runs are to classify where they are now.
AWAITED = sa.text("""
SELECT DISTINCT product_id
FROM listed JOIN run_product USING (product_id) JOIN run USING (run_id)
WHERE listed.collection = 'own' AND run_product.result IS NULL AND run.finished_at IS NULL
""")

_OLD_COLUMNS = ", ".join(f"product.{name}" for name in PRODUCT_COLUMNS)
_NEW_COLUMNS = ", ".join(f"excluded.{name}" for name in PRODUCT_COLUMNS)
MERGE = sa.text(f"""
INSERT INTO product ({NAMES}, is_published)
SELECT {NAMES}, collection = 'archive' OR :publish_own
FROM ({CHOSEN}) AS chosen ORDER BY product_id
ON CONFLICT (product_id) DO UPDATE
SET ({NAMES}, listed_at, withdrawn_at, superseded, is_published, first_listed_at) = (
    {_NEW_COLUMNS}, now(), NULL,
    product.superseded AND product.source IS NOT DISTINCT FROM excluded.source,
    excluded.is_published OR (product.is_published AND product.collection = 'own'),
    CASE excluded.collection WHEN product.collection
        THEN product.first_listed_at ELSE excluded.first_listed_at
    END
)
WHERE ({_OLD_COLUMNS}, product.withdrawn_at) IS DISTINCT FROM ({_NEW_COLUMNS}, NULL)
  AND {MAY_CHANGE.format(new="excluded")}
""")

PUBLISH_OWN = sa.text("""
UPDATE product SET is_published = true
WHERE collection = 'own' AND NOT is_published AND product_id IN (SELECT product_id FROM listed)
""")

# Only a withdrawal takes the mark away.
MARK_SUPERSEDED = sa.text("""
UPDATE product SET superseded = true
FROM (
    SELECT product.name_key, listed.source, max(product.version) AS version
    FROM listed JOIN product USING (product_id)
    WHERE product.withdrawn_at IS NULL
    GROUP BY 1, 2
) AS newest
WHERE product.name_key = newest.name_key AND product.source IS NOT DISTINCT FROM newest.source
  AND newest.version > product.version AND NOT product.superseded
""")

# A folder's images that an archive lists now, or another folder after they were withdrawn: their
# outcomes were made from other bytes.
TAKEN_OVER = sa.text(f"""
SELECT product.product_id FROM product JOIN ({CHOSEN}) AS chosen USING (product_id)
WHERE product.collection = 'own' AND product.source IS DISTINCT FROM chosen.source
  AND (chosen.collection = 'archive' OR product.withdrawn_at IS NOT NULL)
  AND {MAY_CHANGE.format(new="chosen")}
""")

# Their chunks are locked first, so that none of them is being published.
LOCK_CHUNKS = sa.text("""
SELECT run_id, number FROM chunk
WHERE (run_id, number) IN (
    SELECT run_id, chunk_number FROM run_product
    WHERE product_id = ANY (:product_ids) AND result IS NULL
)
ORDER BY run_id, number FOR NO KEY UPDATE
""")

LEAVE_OPEN_RUNS = sa.text(f"""
UPDATE run_product
SET (chunk_number, result, reason, detail, recorded_at) =
    (NULL, 'kept', :known, listed.source || ' lists it.', clock_timestamp())
FROM ({CHOSEN}) AS listed
WHERE run_product.product_id = listed.product_id
  AND run_product.product_id = ANY (:product_ids) AND run_product.result IS NULL
""")

SET_OUTCOMES_ASIDE = sa.text(f"""
WITH gone AS (
    DELETE FROM outcome WHERE product_id = ANY (:product_ids) RETURNING *
)
INSERT INTO outcome_history (
    product_id, classifier, run_id, state, scores, reason, detail, attempts, finished_at,
    missing_share, is_lasting, replaced_by, cause
)
SELECT
    gone.product_id, gone.classifier, gone.run_id, gone.state, gone.scores, gone.reason,
    gone.detail, gone.attempts, gone.finished_at, gone.missing_share, gone.is_lasting, :run_id,
    concat('listed by ', listed.source, '; this outcome was made from ', product.image_url)
FROM gone
JOIN product USING (product_id)
JOIN ({CHOSEN}) AS listed USING (product_id)
""")

# The next ingest under any classifier reads these listings again, and classifies the products.
FORGET_LISTINGS = sa.text("""
DELETE FROM listing_state WHERE source IN (
    SELECT source FROM listed WHERE product_id = ANY (:product_ids)
)
""")


@dataclass(frozen=True, slots=True)
class Circumstances:
    """How a listing was made, as far as it decides what the listing may change.

    Attributes:
        run_id: The run that lists, None if it does not exist yet.
        publish_own: Whether the Atlas shows the images of folders.
        at_mirror: Whether mirrors of the archives were read instead, which may lag behind.
        moved: Ids of own images whose files are gone from where the product table has them.
    """

    run_id: int | None = None
    publish_own: bool = False
    at_mirror: bool = False
    moved: Sequence[str] = ()


def merge_into_products(listed: Listed, how: Circumstances) -> None:
    """Write the listed products to the product table; update those that differ and may change.

    A product that was withdrawn is no longer so. One whose source lists a higher version is marked
    as superseded. If an archive lists a folder's image now, its outcomes are moved to the history,
    since they were made from other bytes. The trigger on `product` keeps the place that a product
    had.
    """
    connection = listed.connection
    # One listing at a time: which source has a product must not change between two statements.
    # Publishing outcomes does not wait for this lock.
    connection.exec_driver_sql("LOCK TABLE product IN SHARE ROW EXCLUSIVE MODE")
    awaited = connection.scalars(AWAITED).all()
    rules = {"at_mirror": how.at_mirror, "moved": list(how.moved), "awaited": awaited}
    _take_over(connection, how.run_id, rules)
    connection.execute(MERGE, rules | {"publish_own": how.publish_own})
    if how.publish_own:
        connection.execute(PUBLISH_OWN)
    connection.execute(MARK_SUPERSEDED)


def _take_over(connection: sa.Connection, run_id: int | None, rules: Mapping[str, object]) -> None:
    """Take the folders' images that other sources list now out of open runs, with their outcomes.

    The locks are taken in the order of those who publish: chunks, thresholds, outcomes.
    """
    taken = connection.scalars(TAKEN_OVER, rules).all()
    if not taken:
        return
    key = {"product_ids": taken}
    _lock_chunks(connection, key)
    lock_thresholds_for_publishing(connection)
    connection.execute(LEAVE_OPEN_RUNS, key | {"known": KNOWN_FROM_ELSEWHERE})
    connection.execute(SET_OUTCOMES_ASIDE, key | {"run_id": run_id})
    connection.execute(FORGET_LISTINGS, key)


def _lock_chunks(connection: sa.Connection, key: Mapping[str, object]) -> None:
    """Lock the chunks of products, also those that others are split into while this waits."""
    locked: set[tuple[int, int]] = set()
    while found := {tuple(row) for row in connection.execute(LOCK_CHUNKS, key)} - locked:
        locked |= found
