"""Results stay: a run's own record of its products, history of outcomes, rank of sources."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# Whom a search shows of the products of one exposure: the one with the smallest text. After its
# collection (archive, own) and whether its archive lists a higher version, the larger image comes
# first, raw before derived, then by type. Types that are not in the list come last.
PREFERENCE = """
CREATE FUNCTION product_preference(
    product_id text, collection text, superseded boolean, lines integer, line_samples integer
) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT concat(
        CASE collection WHEN 'archive' THEN 0 ELSE 1 END,
        CASE WHEN superseded THEN 1 ELSE 0 END,
        lpad((999999999999 - least(lines::bigint * line_samples, 999999999999))::text, 12, '0'),
        CASE WHEN substr(product_id, 12, 1) = 'E' THEN 0 ELSE 1 END,
        lpad(coalesce(array_position(
            ARRAY[
                'EFF', 'ESF', 'EDN', 'ETH',
                'FFL', 'SFL', 'DNL', 'THN', 'THL',
                'ILF', 'ILL', 'ISF', 'ISL', 'INN', 'INL', 'ITH', 'ITL',
                'RAD', 'RAL', 'RSD', 'RSL', 'RDD', 'RDL', 'RTD', 'RTL',
                'MRD', 'MRL', 'MSD', 'MSL', 'MDD', 'MDL', 'MTD', 'MTL',
                'IOF', 'IOL'
            ],
            substr(product_id, 12, 3)
        ), 99)::text, 2, '0')
    )
$$;
"""

# Products that were listed through a mirror have its URLs. Without a source, they get those of the
# archive when it lists them next.
MIRRORED = """
CREATE TEMPORARY TABLE mirrored ON COMMIT DROP AS
SELECT DISTINCT source FROM (SELECT source FROM product UNION SELECT source FROM listing_state) AS s
JOIN (SELECT DISTINCT mirror FROM run WHERE mirror <> '') AS m
    ON starts_with(source, mirror) OR starts_with(source, 'file://' || mirror);
UPDATE product SET source = NULL WHERE source IN (SELECT source FROM mirrored);
DELETE FROM listing_state WHERE source IN (SELECT source FROM mirrored);
DROP TABLE mirrored;
"""

# Before this version nothing told a folder's images from an archive's. A folder has no browse
# images, an index table has. They were published, and stay so.
PRODUCT = """
ALTER TABLE product
    ADD collection text NOT NULL DEFAULT 'archive' CHECK (collection IN ('archive', 'own')),
    ADD is_published boolean NOT NULL DEFAULT true,
    ADD superseded boolean NOT NULL DEFAULT false,
    ADD first_listed_at timestamptz NOT NULL DEFAULT now(),
    ADD exposure_key text COLLATE "C"
        GENERATED ALWAYS AS (left(product_id, 11) || substr(product_id, 24, 2)) STORED;
UPDATE product SET
    first_listed_at = listed_at,
    collection = CASE
        WHEN source LIKE 'file://%/' AND browse_url IS NULL THEN 'own' ELSE 'archive'
    END,
    superseded = EXISTS (
        SELECT FROM product AS newer
        WHERE newer.name_key = product.name_key AND newer.version > product.version
          AND newer.source IS NOT DISTINCT FROM product.source AND newer.withdrawn_at IS NULL
    );
ALTER TABLE product
    ADD preference text COLLATE "C" GENERATED ALWAYS AS (
        product_preference(product_id, collection, superseded, lines, line_samples)
    ) STORED;
CREATE INDEX product_exposure ON product (exposure_key);
ALTER TABLE run
    ADD publish_own boolean NOT NULL DEFAULT false,
    ADD accept_short_listing boolean NOT NULL DEFAULT false;
"""

# What a product was before its archive listed it otherwise, another had it, or it moved.
PRODUCT_HISTORY = """
CREATE TABLE product_history (
    history_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product_id text COLLATE "C" NOT NULL REFERENCES product,
    source text,
    collection text NOT NULL,
    image_url text NOT NULL,
    label_url text,
    browse_url text,
    withdrawn_at timestamptz,
    superseded boolean NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    cause text NOT NULL CHECK (cause <> '')
);
CREATE INDEX product_history_product ON product_history (product_id);

CREATE FUNCTION keep_changed_product() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO product_history (
        product_id, source, collection, image_url, label_url, browse_url, withdrawn_at, superseded,
        cause
    ) VALUES (
        OLD.product_id, OLD.source, OLD.collection, OLD.image_url, OLD.label_url, OLD.browse_url,
        OLD.withdrawn_at, OLD.superseded,
        CASE
            WHEN OLD.withdrawn_at IS NULL AND NEW.withdrawn_at IS NOT NULL
                THEN concat('not listed any more by ', OLD.source)
            WHEN NEW.source IS DISTINCT FROM OLD.source
                THEN concat(
                    coalesce(nullif(current_setting('mernet.cause', true), ''), 'listed by'),
                    ' ', NEW.source)
            WHEN NEW.image_url <> OLD.image_url THEN concat('listed otherwise by ', NEW.source)
            WHEN OLD.withdrawn_at IS NOT NULL THEN concat('listed again by ', NEW.source)
            WHEN NEW.superseded THEN concat('a higher version is listed by ', NEW.source)
            ELSE concat('no higher version is listed any more by ', NEW.source)
        END
    );
    RETURN NULL;
END $$;
CREATE TRIGGER product_changed AFTER UPDATE ON product FOR EACH ROW
    WHEN (
        (OLD.source, OLD.image_url, OLD.withdrawn_at, OLD.superseded)
        IS DISTINCT FROM (NEW.source, NEW.image_url, NEW.withdrawn_at, NEW.superseded)
    )
    EXECUTE FUNCTION keep_changed_product();
"""

OUTCOME = """
ALTER TABLE outcome
    ADD missing_share real CHECK (missing_share BETWEEN 0 AND 1),
    ADD is_lasting boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT outcome_lasting_is_failed CHECK (state = 'failed' OR NOT is_lasting);

CREATE TABLE outcome_history (
    history_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product_id text COLLATE "C" NOT NULL REFERENCES product,
    classifier text COLLATE "C" NOT NULL REFERENCES classifier,
    run_id integer NOT NULL REFERENCES run,
    state text NOT NULL CHECK (state IN ('classified', 'failed')),
    scores real[],
    reason text,
    detail text,
    attempts integer NOT NULL,
    finished_at timestamptz NOT NULL,
    missing_share real,
    is_lasting boolean NOT NULL,
    replaced_at timestamptz NOT NULL DEFAULT now(),
    replaced_by integer REFERENCES run,
    cause text NOT NULL CHECK (cause <> '')
);
CREATE INDEX outcome_history_product ON outcome_history (product_id, classifier);

-- A trigger, because a row that two runs write at once is known only when it is locked.
CREATE FUNCTION keep_replaced_outcome() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outcome_history (
        product_id, classifier, run_id, state, scores, reason, detail, attempts, finished_at,
        missing_share, is_lasting, replaced_by, cause
    ) VALUES (
        OLD.product_id, OLD.classifier, OLD.run_id, OLD.state, OLD.scores, OLD.reason, OLD.detail,
        OLD.attempts, OLD.finished_at, OLD.missing_share, OLD.is_lasting, NEW.run_id,
        CASE NEW.state WHEN 'classified' THEN 'classified again' ELSE 'failed: ' || NEW.reason END
    );
    RETURN NULL;
END $$;
CREATE TRIGGER outcome_replaced AFTER UPDATE ON outcome FOR EACH ROW
    WHEN ((OLD.state, OLD.scores, OLD.reason) IS DISTINCT FROM (NEW.state, NEW.scores, NEW.reason))
    EXECUTE FUNCTION keep_replaced_outcome();
"""

# What earlier runs did is known from the outcomes as far as no later run replaced them.
RUN_PRODUCT = """
ALTER TABLE run_product
    ADD result text,
    ADD reason text,
    ADD detail text,
    ADD recorded_at timestamptz,
    -- Where the run listed the product, if the product table has it at another place.
    ADD source text,
    ADD image_url text,
    ADD label_url text;
UPDATE run_product SET
    result = CASE WHEN run_product.chunk_number IS NULL THEN 'kept' ELSE outcome.state END,
    reason = outcome.reason,
    detail = outcome.detail,
    recorded_at = least(outcome.finished_at, run.finished_at)
FROM run JOIN outcome USING (classifier)
WHERE run.run_id = run_product.run_id AND outcome.product_id = run_product.product_id
  AND (run_product.chunk_number IS NULL OR EXISTS (
    SELECT FROM chunk
    WHERE chunk.run_id = run_product.run_id AND chunk.number = run_product.chunk_number
      AND chunk.state = 'done'
  ));
ALTER TABLE run_product
    ADD CONSTRAINT run_product_result CHECK (result IN ('classified', 'failed', 'kept')),
    ADD CONSTRAINT run_product_has_reason CHECK (
        CASE result
            WHEN 'classified' THEN reason IS NULL AND detail IS NULL
            WHEN 'failed' THEN reason IS NOT NULL AND detail IS NOT NULL
            WHEN 'kept' THEN (reason IS NULL) = (detail IS NULL)
            ELSE reason IS NULL AND detail IS NULL
        END
    ),
    ADD CONSTRAINT run_product_has_place CHECK (
        image_url IS NOT NULL OR (source IS NULL AND label_url IS NULL)
    ),
    ADD CONSTRAINT run_product_has_time CHECK ((result IS NULL) = (recorded_at IS NULL));
CREATE INDEX run_product_failed ON run_product (product_id, recorded_at) WHERE result = 'failed';
"""

# The current classifier is a subquery, not a join: the planner then treats it as one constant and
# reads a class in the order of `classification_search`, without a sort. Rivals are looked up by
# `exposure_key`, product by product.
SEARCH = """
CREATE OR REPLACE VIEW {view} AS
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
    (SELECT name FROM classifier WHERE is_current) AS classifier,
    (
        SELECT outcome.missing_share FROM outcome
        WHERE outcome.product_id = classification.product_id
          AND outcome.classifier = classification.classifier
    ) AS missing_share
FROM classification
JOIN product ON product.product_id = classification.product_id
    AND product.withdrawn_at IS NULL AND product.{shown}
JOIN image_class ON image_class.code = classification.class
WHERE classification.classifier = (SELECT sha256 FROM classifier WHERE is_current)
  AND NOT EXISTS (
    SELECT FROM product AS rival
    JOIN outcome AS rival_outcome ON rival_outcome.product_id = rival.product_id
        AND rival_outcome.classifier = (SELECT sha256 FROM classifier WHERE is_current)
        AND rival_outcome.state = 'classified'
    WHERE rival.exposure_key = product.exposure_key
      AND rival.withdrawn_at IS NULL AND rival.{shown}
      AND (rival.preference, rival.first_listed_at) <= (product.preference, product.first_listed_at)
      AND (
        (rival.preference, rival.first_listed_at) < (product.preference, product.first_listed_at)
        OR rival.product_id > product.product_id
      )
  );
"""

# As in 0002.
SEARCH_BEFORE = """
DROP VIEW own_search;
DROP VIEW atlas_search;
CREATE VIEW atlas_search AS
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
JOIN product ON product.product_id = classification.product_id AND product.withdrawn_at IS NULL
JOIN image_class ON image_class.code = classification.class
WHERE classification.classifier = (SELECT sha256 FROM classifier WHERE is_current)
  AND NOT EXISTS (
    SELECT FROM product AS newer
    WHERE newer.name_key = product.name_key AND newer.version > product.version
      AND newer.withdrawn_at IS NULL
  );
GRANT SELECT ON atlas_search TO mernet_atlas;
"""

FORGET = """
ALTER TABLE run DROP publish_own, DROP accept_short_listing;
DROP INDEX run_product_failed;
ALTER TABLE run_product
    DROP result, DROP reason, DROP detail, DROP recorded_at,
    DROP source, DROP image_url, DROP label_url;
DROP TRIGGER product_changed ON product;
DROP FUNCTION keep_changed_product;
DROP TABLE product_history;
DROP TRIGGER outcome_replaced ON outcome;
DROP FUNCTION keep_replaced_outcome;
DROP TABLE outcome_history;
ALTER TABLE outcome DROP missing_share, DROP is_lasting;
ALTER TABLE product
    DROP preference, DROP exposure_key, DROP first_listed_at, DROP superseded, DROP is_published,
    DROP collection;
DROP FUNCTION product_preference;
"""


def upgrade() -> None:
    """Add the columns, the history and its trigger; show one product of each exposure."""
    op.execute(PREFERENCE)
    op.execute(MIRRORED)
    op.execute(PRODUCT)
    op.execute(PRODUCT_HISTORY)
    op.execute(OUTCOME)
    op.execute(RUN_PRODUCT)
    op.execute(SEARCH.format(view="atlas_search", shown="is_published"))
    op.execute(SEARCH.format(view="own_search", shown="collection = 'own'"))


def downgrade() -> None:
    """Show the highest version of each name again, own images too, and drop what was added."""
    op.execute(SEARCH_BEFORE)
    op.execute(FORGET)
