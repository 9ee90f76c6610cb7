"""Ingest: where a product is listed, whether it was withdrawn, which version a listing had."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COLUMNS = """
-- The archive that listed the product last, and since when it lists it no more.
ALTER TABLE product
    ADD source text CHECK (source <> ''),
    ADD withdrawn_at timestamptz;
"""

# A new classifier has outcomes of nothing yet, so what is known of an index counts for one only.
LISTING_STATE = """
CREATE TABLE listing_state (
    classifier text COLLATE "C" REFERENCES classifier,
    source text CHECK (source <> ''),
    products text CHECK (products IN ('edr', 'rdr', 'any')),
    url text CHECK (url <> ''),
    etag text,
    last_modified text,
    sha256 text COLLATE "C" NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    checked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (classifier, source, products, url)
);
"""

KINDS = """
ALTER TABLE run DROP CONSTRAINT run_kind_check;
ALTER TABLE run ADD CONSTRAINT run_kind_check CHECK (kind IN ({kinds}));
"""

# As in 0001, but for the two conditions on `withdrawn_at`, which is given in braces.
ATLAS_SEARCH = """
CREATE OR REPLACE VIEW atlas_search AS
SELECT
    classification.product_id,
    classification.class,
    image_class.name AS class_name,
    classification.probability AS confidence,
    product.rover,
    product.sol,
    product.site,
    product.drive,
    product.start_time,
    product.local_solar_time,
    product.image_url,
    product.browse_url,
    (SELECT name FROM classifier WHERE is_current) AS classifier
FROM classification
JOIN product ON product.product_id = classification.product_id{is_listed}
JOIN image_class ON image_class.code = classification.class
WHERE classification.classifier = (SELECT sha256 FROM classifier WHERE is_current)
  AND NOT EXISTS (
    SELECT FROM product AS newer
    WHERE newer.name_key = product.name_key AND newer.version > product.version{newer_is_listed}
  );
"""


def upgrade() -> None:
    """Add the columns and the table; hide withdrawn products; allow runs of what is new."""
    op.execute(COLUMNS)
    op.execute(LISTING_STATE)
    op.execute(KINDS.format(kinds="'full', 'retry', 'new'"))
    op.execute(
        ATLAS_SEARCH.format(
            is_listed=" AND product.withdrawn_at IS NULL",
            newer_is_listed=" AND newer.withdrawn_at IS NULL",
        )
    )


def downgrade() -> None:
    """Show withdrawn products again, call runs of what is new full ones, forget the rest."""
    op.execute(ATLAS_SEARCH.format(is_listed="", newer_is_listed=""))
    op.execute("UPDATE run SET kind = 'full' WHERE kind = 'new'")
    op.execute(KINDS.format(kinds="'full', 'retry'"))
    op.execute("DROP TABLE listing_state")
    op.execute("ALTER TABLE product DROP source, DROP withdrawn_at")
