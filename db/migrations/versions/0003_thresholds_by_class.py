"""Thresholds of single classes, the history of promotions, classifiers kept unpublished."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

PROMOTION = """
CREATE TABLE promotion (
    promotion_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    classifier text COLLATE "C" NOT NULL REFERENCES classifier,
    promoted_at timestamptz NOT NULL DEFAULT now(),
    undone_at timestamptz
);
-- What was current before this table has no known time.
INSERT INTO promotion (classifier) SELECT sha256 FROM classifier WHERE is_current;
"""

THRESHOLD = """
ALTER TABLE classifier ADD is_published boolean NOT NULL DEFAULT true;

CREATE TABLE class_threshold (
    classifier text COLLATE "C" REFERENCES classifier,
    class text REFERENCES image_class,
    threshold real NOT NULL CHECK (threshold > 0 AND threshold < 1),
    PRIMARY KEY (classifier, class)
);

-- What a probability has to exceed to be published; without a row here, nothing is published.
CREATE VIEW effective_threshold AS
SELECT
    classifier.sha256 AS classifier,
    image_class.code AS class,
    image_class.position,
    coalesce(class_threshold.threshold, classifier.threshold) AS threshold
FROM classifier
CROSS JOIN image_class
LEFT JOIN class_threshold
    ON class_threshold.classifier = classifier.sha256 AND class_threshold.class = image_class.code
WHERE classifier.is_published;

CREATE OR REPLACE FUNCTION refuse_classification_at_or_below_threshold() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM written LEFT JOIN effective_threshold AS effective USING (classifier, class)
        WHERE (written.probability > effective.threshold) IS NOT TRUE
    ) THEN
        RAISE EXCEPTION 'a classification is not above its class''s threshold'
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
"""

ONE_THRESHOLD = """
CREATE OR REPLACE FUNCTION refuse_classification_at_or_below_threshold() RETURNS trigger
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

DELETE FROM classification USING classifier
WHERE classifier.sha256 = classification.classifier
  AND classification.probability <= classifier.threshold;

INSERT INTO classification (product_id, classifier, class, probability)
SELECT outcome.product_id, outcome.classifier, image_class.code,
    outcome.scores[image_class.position]
FROM outcome
JOIN classifier ON classifier.sha256 = outcome.classifier
CROSS JOIN image_class
WHERE outcome.scores[image_class.position] > classifier.threshold
ON CONFLICT DO NOTHING;
"""


def upgrade() -> None:
    """Add the tables, the view and the column; the trigger reads the view from now on."""
    op.execute(PROMOTION)
    op.execute(THRESHOLD)


def downgrade() -> None:
    """Publish every classifier above its one threshold again, and drop what was added."""
    op.execute(ONE_THRESHOLD)
    op.execute("DROP VIEW effective_threshold")
    op.execute("DROP TABLE class_threshold")
    op.execute("DROP TABLE promotion")
    op.execute("ALTER TABLE classifier DROP is_published")
