"""The ledger of runs, the published table, the view `atlas_search` and the role that reads it."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PRODUCT = """
CREATE TABLE product (
    product_id text COLLATE "C" PRIMARY KEY CHECK (product_id ~ '^[0-9A-Z#_]{27}$'),
    name_key text COLLATE "C" GENERATED ALWAYS AS (left(product_id, 26)) STORED,
    version text COLLATE "C" GENERATED ALWAYS AS (right(product_id, 1)) STORED,
    rover text NOT NULL CHECK (rover <> ''),
    sol integer CHECK (sol >= 0),
    site integer CHECK (site >= 0),
    drive integer CHECK (drive >= 0),
    sequence text NOT NULL,
    start_time timestamptz,
    local_solar_time text,
    lines integer NOT NULL CHECK (lines > 0),
    line_samples integer NOT NULL CHECK (line_samples > 0),
    image_url text NOT NULL CHECK (image_url <> ''),
    label_url text,
    browse_url text,
    listed_at timestamptz NOT NULL DEFAULT now()
);
-- A digit sorts before a letter in "C", as versions do: 1 .. 9, A .. Z.
CREATE INDEX product_name ON product (name_key, version);
"""

CLASSIFIER = """
CREATE TABLE classifier (
    sha256 text COLLATE "C" PRIMARY KEY CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    name text NOT NULL UNIQUE CHECK (name <> ''),
    path text NOT NULL CHECK (path <> ''),
    threshold real NOT NULL CHECK (threshold > 0 AND threshold < 1),
    header jsonb NOT NULL CHECK (jsonb_typeof(header) = 'object'),
    added_at timestamptz NOT NULL DEFAULT now(),
    is_current boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX classifier_current ON classifier (is_current) WHERE is_current;
"""

RUN = """
CREATE TABLE run (
    run_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('full', 'retry')),
    state text NOT NULL
        CHECK (state IN ('listing', 'running', 'finished', 'cancelled', 'failed')),
    classifier text COLLATE "C" NOT NULL REFERENCES classifier,
    archives text[] NOT NULL,
    mirror text,
    products text NOT NULL CHECK (products IN ('edr', 'rdr', 'any')),
    chunk_size integer NOT NULL CHECK (chunk_size > 0),
    again boolean NOT NULL,
    left_out jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(left_out) = 'object'),
    rows_read bigint NOT NULL DEFAULT 0 CHECK (rows_read >= 0),
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    taken_by text,
    taken_at timestamptz,
    sent_at timestamptz,
    error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CHECK ((state IN ('listing', 'running')) = (finished_at IS NULL)),
    CHECK ((state = 'failed') = (error IS NOT NULL)),
    CHECK ((taken_by IS NULL) = (taken_at IS NULL)),
    CHECK (kind = 'retry' OR cardinality(archives) > 0)
);

CREATE TABLE chunk (
    run_id integer REFERENCES run,
    number integer CHECK (number > 0),
    state text NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'taken', 'done', 'split')),
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    taken_by text,
    taken_at timestamptz,
    sent_at timestamptz,
    last_error text,
    closed_at timestamptz,
    PRIMARY KEY (run_id, number),
    CHECK ((state IN ('done', 'split')) = (closed_at IS NOT NULL)),
    CHECK (state <> 'taken' OR (taken_by IS NOT NULL AND taken_at IS NOT NULL))
);
CREATE INDEX chunk_open ON chunk (run_id, number) WHERE state IN ('ready', 'taken');

-- Without a chunk number: another run had an outcome of the product before this one came to it.
CREATE TABLE run_product (
    run_id integer REFERENCES run,
    product_id text COLLATE "C" REFERENCES product,
    chunk_number integer,
    PRIMARY KEY (run_id, product_id),
    FOREIGN KEY (run_id, chunk_number) REFERENCES chunk
);
CREATE INDEX run_product_chunk ON run_product (run_id, chunk_number);
"""

OUTCOME = """
CREATE TABLE outcome (
    product_id text COLLATE "C" REFERENCES product,
    classifier text COLLATE "C" REFERENCES classifier,
    run_id integer NOT NULL REFERENCES run,
    state text NOT NULL CHECK (state IN ('classified', 'failed')),
    scores real[],
    reason text CHECK (reason <> ''),
    detail text,
    attempts integer NOT NULL CHECK (attempts > 0),
    finished_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (product_id, classifier),
    CHECK ((state = 'classified') = (scores IS NOT NULL)),
    CHECK ((state = 'failed') = (reason IS NOT NULL AND detail IS NOT NULL)),
    CHECK (state = 'failed' OR (reason IS NULL AND detail IS NULL)),
    -- NaN is greater than every number here, so the last line refuses it too.
    CONSTRAINT outcome_has_25_probabilities CHECK (
        scores IS NULL OR (
            cardinality(scores) = 25 AND array_ndims(scores) = 1 AND array_lower(scores, 1) = 1
            AND array_position(scores, NULL) IS NULL
            AND 0::real <= ALL (scores) AND 1::real >= ALL (scores)
        )
    )
);
CREATE INDEX outcome_failed ON outcome (classifier, reason) WHERE state = 'failed';
"""

CLASSIFICATION = """
CREATE TABLE image_class (
    code text PRIMARY KEY CHECK (code ~ '^[a-z]{3}$'),
    position smallint NOT NULL UNIQUE CHECK (position BETWEEN 1 AND 25),
    name text NOT NULL UNIQUE CHECK (name <> ''),
    "grouping" text NOT NULL CHECK ("grouping" IN ('majority', 'minority', 'extreme minority'))
);

CREATE TABLE classification (
    product_id text COLLATE "C",
    classifier text COLLATE "C",
    class text REFERENCES image_class,
    probability real NOT NULL CHECK (probability > 0 AND probability <= 1),
    PRIMARY KEY (product_id, classifier, class),
    FOREIGN KEY (product_id, classifier) REFERENCES outcome ON DELETE CASCADE
);
CREATE INDEX classification_search
    ON classification (classifier, class, probability DESC, product_id);

-- A CHECK sees one row of one table; the threshold is in another. Once a statement, not once a
-- row, so that bulk inserts stay fast.
CREATE FUNCTION refuse_classification_at_or_below_threshold() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM written JOIN classifier ON classifier.sha256 = written.classifier
        WHERE written.probability <= classifier.threshold
    ) THEN
        RAISE EXCEPTION 'a classification is not above its classifier''s threshold'
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER classification_inserted AFTER INSERT ON classification
    REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_classification_at_or_below_threshold();
CREATE TRIGGER classification_updated AFTER UPDATE ON classification
    REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_classification_at_or_below_threshold();
"""

# The current classifier is a subquery, not a join: the planner then treats it as one constant and
# reads a class in the order of `classification_search`, without a sort.
ATLAS_SEARCH = """
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
JOIN product ON product.product_id = classification.product_id
JOIN image_class ON image_class.code = classification.class
WHERE classification.classifier = (SELECT sha256 FROM classifier WHERE is_current)
  AND NOT EXISTS (
    SELECT FROM product AS newer
    WHERE newer.name_key = product.name_key AND newer.version > product.version
  );
"""

# Roles belong to the server, not to a database: another database may have made it, or be making it.
ATLAS_ROLE = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'mernet_atlas') THEN
        BEGIN
            CREATE ROLE mernet_atlas NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO mernet_atlas', current_schema());
END $$;
GRANT SELECT ON atlas_search TO mernet_atlas;
"""

CLASSES = (
    ("rod", "Rover deck", "minority"),
    ("pct", "Pancam calibration target", "extreme minority"),
    ("arh", "Arm hardware", "extreme minority"),
    ("ohw", "Other hardware", "extreme minority"),
    ("rtr", "Rover tracks", "majority"),
    ("sot", "Soil trench", "extreme minority"),
    ("rab", "RAT brushed target", "extreme minority"),
    ("rah", "RAT hole", "extreme minority"),
    ("roc", "Outcrop rocks", "majority"),
    ("flr", "Float rocks", "majority"),
    ("cla", "Clasts", "majority"),
    ("rmi", "Misc. rocks", "minority"),
    ("bso", "Bright soil", "extreme minority"),
    ("dur", "Dunes/ripples", "majority"),
    ("rlf", "Rock (linear feature)", "majority"),
    ("rrf", "Rock (round feature)", "minority"),
    ("soi", "Soil", "majority"),
    ("ast", "Astronomy", "extreme minority"),
    ("sph", "Spherules", "majority"),
    ("div", "Distant vista", "majority"),
    ("sky", "Sky", "majority"),
    ("clr", "Close-up rock", "extreme minority"),
    ("nbs", "Nearby surface", "majority"),
    ("rpa", "Rover parts", "majority"),
    ("art", "Artifacts", "extreme minority"),
)
"""Code, name and group of the 25 classes in the order of the chain (MERNet's Table 1)."""


def upgrade() -> None:
    """Create everything and write the 25 classes."""
    for statements in (PRODUCT, CLASSIFIER, RUN, OUTCOME, CLASSIFICATION, ATLAS_SEARCH, ATLAS_ROLE):
        op.execute(statements)
    op.get_bind().execute(
        sa.text(
            'INSERT INTO image_class (position, code, name, "grouping") '
            "VALUES (:position, :code, :name, :grouping)"
        ),
        [
            {"position": position, "code": code, "name": name, "grouping": grouping}
            for position, (code, name, grouping) in enumerate(CLASSES, start=1)
        ],
    )


def downgrade() -> None:
    """Drop everything but the role, which other databases of the server may use."""
    op.execute("DROP VIEW atlas_search")
    for table in ("classification", "image_class", "outcome", "run_product", "chunk", "run"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION refuse_classification_at_or_below_threshold")
    op.execute("DROP TABLE classifier")
    op.execute("DROP TABLE product")
