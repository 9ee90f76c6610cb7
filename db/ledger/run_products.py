"""The members of a run: which products belong to it, and in which chunks they are."""

import sqlalchemy as sa

from mernet.db.ledger.listed_table import Listed
from mernet.db.ledger.merging import CHOSEN
from mernet.db.ledger.runs import end_if_done
from mernet.db.publish import KNOWN_FROM_ELSEWHERE
from mernet.db.tables import run

# One statement, so that the foreign key from members to chunks is checked when both are written.
# A failed outcome counts as an outcome: failed products are for a retry. What another archive has
# is read where this run listed it, and not at all if it has scores. Archives of a run that are
# listed later add chunks. What is a member already stays as it is, except what was kept because an
# archive has it: if that archive is one of this run's, it is classified.
ENROL = sa.text(f"""
WITH candidate AS (
    SELECT
        chosen.product_id,
        chosen.position,
        CASE chosen.collection
            WHEN 'own' THEN product.collection = 'archive'
                OR (product.source <> chosen.source AND product.image_url <> chosen.image_url)
            ELSE (
                run.reclassify AND product.source <> chosen.source AND outcome.state = 'classified'
            ) IS TRUE
        END AS is_known,
        product.source AS known_to,
        NOT run.reclassify AND outcome.product_id IS NOT NULL AS has_outcome,
        outcome.reason,
        outcome.detail,
        run.chunk_size,
        coalesce((SELECT max(number) FROM chunk WHERE chunk.run_id = run.run_id), 0) AS last_chunk,
        chosen.collection = 'archive' AND (chosen.source, chosen.image_url, chosen.label_url)
            IS DISTINCT FROM (product.source, product.image_url, product.label_url) AS is_elsewhere,
        chosen.source, chosen.image_url, chosen.label_url
    FROM ({CHOSEN}) AS chosen JOIN product USING (product_id) CROSS JOIN run
    LEFT JOIN outcome
        ON outcome.product_id = chosen.product_id AND outcome.classifier = run.classifier
    WHERE run.run_id = :run_id AND NOT EXISTS (
        SELECT FROM run_product AS already
        WHERE already.run_id = run.run_id AND already.product_id = chosen.product_id
          AND (already.reason = :known AND chosen.collection = 'archive') IS NOT TRUE
    )
),
judged AS (
    SELECT product_id, position, chunk_size, last_chunk, is_known OR has_outcome AS is_kept,
        is_elsewhere AND NOT is_known AND NOT has_outcome AS is_elsewhere,
        source, image_url, label_url,
        CASE
            WHEN is_known THEN :known
            WHEN has_outcome THEN reason
        END AS reason,
        CASE
            WHEN is_known THEN concat(known_to, ' lists it.')
            WHEN has_outcome THEN detail
        END AS detail
    FROM candidate
),
member AS (
    SELECT
        judged.*,
        CASE WHEN NOT is_kept THEN
            last_chunk + 1
            + (row_number() OVER (PARTITION BY is_kept ORDER BY position) - 1) / chunk_size
        END AS chunk_number
    FROM judged
),
new_chunk AS (
    INSERT INTO chunk (run_id, number, sources)
    SELECT CAST(:run_id AS integer), chunk_number, array_agg(DISTINCT coalesce(source, ''))
    FROM member WHERE chunk_number IS NOT NULL GROUP BY chunk_number
)
INSERT INTO run_product (
    run_id, product_id, chunk_number, result, reason, detail, recorded_at,
    source, image_url, label_url
)
SELECT
    :run_id, product_id, chunk_number,
    CASE WHEN is_kept THEN 'kept' END, reason, detail,
    CASE WHEN is_kept THEN clock_timestamp() END,
    CASE WHEN is_elsewhere THEN source END,
    CASE WHEN is_elsewhere THEN image_url END,
    CASE WHEN is_elsewhere THEN label_url END
FROM member
ON CONFLICT (run_id, product_id) DO UPDATE
SET (
    chunk_number, result, reason, detail, recorded_at, source, image_url, label_url
) = (
    excluded.chunk_number, excluded.result, excluded.reason, excluded.detail, excluded.recorded_at,
    excluded.source, excluded.image_url, excluded.label_url
)
""")

# The outcomes come from other runs: those of its own run close the chunk.
DROP_PRODUCTS = sa.text("""
UPDATE run_product
SET (chunk_number, result, reason, detail, recorded_at) =
    (NULL, 'kept', outcome.reason, outcome.detail, clock_timestamp())
FROM run JOIN outcome USING (classifier)
WHERE run.run_id = :run_id AND NOT run.reclassify
  AND run_product.run_id = run.run_id AND run_product.chunk_number = :number
  AND run_product.product_id = outcome.product_id
""")


def enrol(listed: Listed, run_id: int) -> None:
    """Make the listed products members of a run, and put them in chunks in their order.

    A product that has an outcome under the run's classifier becomes a member without a chunk, with
    the result 'kept', unless the run reclassifies; so does a folder's image whose product an
    archive or another folder has, and whatever has scores from another archive. One without scores
    is read where this run listed it.
    The run is then running, or has ended if nothing is left to be done.
    """
    connection = listed.connection
    connection.execute(ENROL, {"run_id": run_id, "known": KNOWN_FROM_ELSEWHERE})
    connection.execute(sa.update(run).where(run.c.run_id == run_id).values(state="running"))
    end_if_done(connection, run_id)


def drop_products_with_outcome(connection: sa.Connection, run_id: int, number: int) -> None:
    """Remove the products from a chunk that got an outcome since the run was listed.

    They stay members of the run, without a chunk. A run that reclassifies keeps them all.
    """
    connection.execute(DROP_PRODUCTS, {"run_id": run_id, "number": number})
