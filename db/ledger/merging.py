"""Merges a listing into the product table by the rank of sources: an archive before a folder."""

import sqlalchemy as sa

from mernet.db.ledger.listed_table import NAMES, Listed
from mernet.db.products import PRODUCT_COLUMNS
from mernet.db.republish import lock_thresholds_for_publishing

KNOWN_FROM_ARCHIVE = "known from an archive"
"""The reason why an image in a folder is not classified: an archive has the product of its name."""

# A product listed several times counts once: as the source lists it that has it already, else as an
# archive before a folder, else as it came first.
CHOSEN = f"""
SELECT DISTINCT ON (listed.product_id) {", ".join(f"listed.{name}" for name in PRODUCT_COLUMNS)}
FROM listed LEFT JOIN product USING (product_id)
ORDER BY
    listed.product_id, coalesce(listed.source = product.source, false) DESC, listed.collection,
    listed.position
"""

# What an archive listed changes only if the same archive lists it otherwise, or lists it no more; a
# folder's image gives way to any archive's, and to another folder's while it is not classified.
MAY_CHANGE = """
CASE WHEN {new}.collection = 'own' AND product.collection = 'archive' THEN false
    ELSE product.source IS NULL
        OR coalesce(product.source = {new}.source, false)
        OR product.withdrawn_at IS NOT NULL
        OR ({new}.collection = 'archive' AND product.collection = 'own')
        OR (product.collection = 'own' AND NOT EXISTS (
            SELECT FROM outcome
            WHERE outcome.product_id = product.product_id AND outcome.state = 'classified'
        ))
END
"""

_OLD_COLUMNS = ", ".join(f"product.{name}" for name in PRODUCT_COLUMNS)
_NEW_COLUMNS = ", ".join(f"excluded.{name}" for name in PRODUCT_COLUMNS)
MERGE = sa.text(f"""
INSERT INTO product ({NAMES}, is_published)
SELECT chosen.*, chosen.collection = 'archive' OR :publish_own
FROM ({CHOSEN}) AS chosen ORDER BY chosen.product_id
ON CONFLICT (product_id) DO UPDATE
SET ({NAMES}, listed_at, withdrawn_at, is_published, first_listed_at) = (
    {_NEW_COLUMNS}, now(), NULL,
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

# A mirror may lag behind, so one without the higher version takes no mark away.
MARK_SUPERSEDED = sa.text("""
UPDATE product SET superseded = newest.version > product.version
FROM (
    SELECT left(product_id, 26) AS name_key, source, max(right(product_id, 1)) AS version
    FROM listed GROUP BY 1, 2
) AS newest
WHERE product.name_key = newest.name_key AND product.source IS NOT DISTINCT FROM newest.source
  AND product.superseded <> (newest.version > product.version)
  AND (newest.version > product.version OR NOT :at_mirror)
""")

# A folder's images that another source lists now: their outcomes were made from other bytes.
TAKEN_OVER = sa.text(f"""
SELECT product.product_id FROM product JOIN ({CHOSEN}) AS chosen USING (product_id)
WHERE product.collection = 'own' AND product.source IS DISTINCT FROM chosen.source
  AND (chosen.collection = 'archive' OR product.withdrawn_at IS NOT NULL)
  AND {MAY_CHANGE.format(new="chosen")}
""")

# Their chunks are locked first, so that none of them is being published.
LOCK_CHUNKS = sa.text("""
SELECT FROM chunk
WHERE (run_id, number) IN (
    SELECT run_id, chunk_number FROM run_product
    WHERE product_id = ANY (:product_ids) AND result IS NULL
)
ORDER BY run_id, number FOR NO KEY UPDATE
""")

LISTED_BY = (
    "(SELECT DISTINCT ON (product_id) product_id, source FROM listed ORDER BY 1, collection)"
)

LEAVE_OPEN_RUNS = sa.text(f"""
UPDATE run_product
SET (chunk_number, result, reason, detail, recorded_at) =
    (NULL, 'kept', :known, listed.source || ' lists it.', clock_timestamp())
FROM {LISTED_BY} AS listed
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
JOIN {LISTED_BY} AS listed USING (product_id)
""")

# The next ingest under any classifier reads these listings again, and classifies the products.
FORGET_LISTINGS = sa.text("""
DELETE FROM listing_state WHERE source IN (
    SELECT source FROM listed WHERE product_id = ANY (:product_ids)
)
""")


def merge_into_products(
    listed: Listed, run_id: int | None, publish_own: bool, at_mirror: bool = False
) -> None:
    """Write the listed products to the product table; update those that differ and may change.

    A product that was withdrawn is no longer so. One whose source lists a higher version is marked
    as superseded. If another source lists a folder's image now, its outcomes are moved to the
    history, since they were made from other bytes.

    Args:
        listed: The products.
        run_id: The run that lists them, None if it does not exist yet.
        publish_own: Whether the Atlas shows the images of folders.
        at_mirror: Whether mirrors of the archives were read instead.
    """
    connection = listed.connection
    # One listing at a time: which source has a product must not change between two statements.
    # Publishing outcomes does not wait for this lock.
    connection.exec_driver_sql("LOCK TABLE product IN SHARE ROW EXCLUSIVE MODE")
    _take_over(connection, run_id)
    connection.execute(MERGE, {"publish_own": publish_own})
    if publish_own:
        connection.execute(PUBLISH_OWN)
    connection.execute(MARK_SUPERSEDED, {"at_mirror": at_mirror})


def _take_over(connection: sa.Connection, run_id: int | None) -> None:
    """Take the folders' images that other sources list now out of open runs, with their outcomes.

    The locks are taken in the order of those who publish: chunks, thresholds, outcomes.
    """
    taken = connection.scalars(TAKEN_OVER).all()
    if not taken:
        return
    key = {"product_ids": taken}
    connection.execute(LOCK_CHUNKS, key)
    lock_thresholds_for_publishing(connection)
    connection.execute(LEAVE_OPEN_RUNS, key | {"known": KNOWN_FROM_ARCHIVE})
    connection.execute(SET_OUTCOMES_ASIDE, key | {"run_id": run_id})
    connection.execute(FORGET_LISTINGS, key)
