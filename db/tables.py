"""The tables as queries see them: columns, keys, indexes.

The CHECKs, the triggers, the views and the role are in `migrations/versions`; a test
checks that both agree.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

METADATA = sa.MetaData()

_ID = sa.Text(collation="C")
_TIME = sa.DateTime(timezone=True)
_NOW = sa.text("now()")

product = sa.Table(
    "product",
    METADATA,
    sa.Column("product_id", _ID, primary_key=True),
    sa.Column("name_key", _ID, sa.Computed("left(product_id, 26)", persisted=True)),
    sa.Column("version", _ID, sa.Computed("right(product_id, 1)", persisted=True)),
    sa.Column("rover", sa.Text, nullable=False),
    sa.Column("sol", sa.Integer),
    sa.Column("site", sa.Integer),
    sa.Column("drive", sa.Integer),
    sa.Column("sequence", sa.Text, nullable=False),
    sa.Column("start_time", _TIME),
    sa.Column("local_solar_time", sa.Text),
    sa.Column("lines", sa.Integer, nullable=False),
    sa.Column("line_samples", sa.Integer, nullable=False),
    sa.Column("image_url", sa.Text, nullable=False),
    sa.Column("label_url", sa.Text),
    sa.Column("browse_url", sa.Text),
    sa.Column("listed_at", _TIME, nullable=False, server_default=_NOW),
    sa.Column("source", sa.Text),
    sa.Column("withdrawn_at", _TIME),
    sa.Column("collection", sa.Text, nullable=False, server_default=sa.text("'archive'")),
    sa.Column("is_published", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("superseded", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("first_listed_at", _TIME, nullable=False, server_default=_NOW),
    sa.Column(
        "exposure_key",
        _ID,
        sa.Computed("left(product_id, 11) || substr(product_id, 24, 2)", persisted=True),
    ),
    sa.Column(
        "preference",
        _ID,
        sa.Computed(
            "product_preference(product_id, collection, superseded, lines, line_samples)",
            persisted=True,
        ),
    ),
    sa.Index("product_name", "name_key", "version"),
    sa.Index("product_exposure", "exposure_key"),
)

product_history = sa.Table(
    "product_history",
    METADATA,
    sa.Column("history_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("product_id", _ID, sa.ForeignKey("product.product_id"), nullable=False),
    sa.Column("source", sa.Text),
    sa.Column("collection", sa.Text, nullable=False),
    sa.Column("image_url", sa.Text, nullable=False),
    sa.Column("label_url", sa.Text),
    sa.Column("browse_url", sa.Text),
    sa.Column("withdrawn_at", _TIME),
    sa.Column("superseded", sa.Boolean, nullable=False),
    sa.Column("changed_at", _TIME, nullable=False, server_default=_NOW),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Index("product_history_product", "product_id"),
)

classifier = sa.Table(
    "classifier",
    METADATA,
    sa.Column("sha256", _ID, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("threshold", sa.REAL, nullable=False),
    sa.Column("header", JSONB, nullable=False),
    sa.Column("added_at", _TIME, nullable=False, server_default=_NOW),
    sa.Column("is_current", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("is_published", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Index(
        "classifier_current", "is_current", unique=True, postgresql_where=sa.text("is_current")
    ),
)

promotion = sa.Table(
    "promotion",
    METADATA,
    sa.Column("promotion_id", sa.Integer, sa.Identity(always=True), primary_key=True),
    sa.Column("classifier", _ID, sa.ForeignKey("classifier.sha256"), nullable=False),
    sa.Column("promoted_at", _TIME, nullable=False, server_default=_NOW),
    sa.Column("undone_at", _TIME),
)

run = sa.Table(
    "run",
    METADATA,
    sa.Column("run_id", sa.Integer, sa.Identity(always=True), primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("classifier", _ID, sa.ForeignKey("classifier.sha256"), nullable=False),
    sa.Column("archives", sa.ARRAY(sa.Text), nullable=False),
    sa.Column("mirror", sa.Text),
    sa.Column("products", sa.Text, nullable=False),
    sa.Column("chunk_size", sa.Integer, nullable=False),
    sa.Column("reclassify", sa.Boolean, nullable=False),
    sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("left_out", JSONB, nullable=False, server_default=sa.text("'{}'")),
    sa.Column("rows_read", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("claimed_by", sa.Text),
    sa.Column("last_heartbeat_at", _TIME),
    sa.Column("sent_at", _TIME),
    sa.Column("error", sa.Text),
    sa.Column("created_at", _TIME, nullable=False, server_default=_NOW),
    sa.Column("finished_at", _TIME),
    sa.Column("publish_own", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("accept_short_listing", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("fetched_bytes", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("retries", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("transfers_of", sa.Text),
    sa.Column("unlisted", sa.ARRAY(sa.Text), nullable=False, server_default=sa.text("'{}'")),
    sa.Column("listing_error", sa.Text),
)

listing_state = sa.Table(
    "listing_state",
    METADATA,
    sa.Column("classifier", _ID, sa.ForeignKey("classifier.sha256"), primary_key=True),
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("products", sa.Text, primary_key=True),
    sa.Column("url", sa.Text, primary_key=True),
    sa.Column("etag", sa.Text),
    sa.Column("last_modified", sa.Text),
    sa.Column("sha256", _ID),
    sa.Column("checked_at", _TIME, nullable=False, server_default=_NOW),
    sa.Column("harvested_to", _TIME),
)

chunk = sa.Table(
    "chunk",
    METADATA,
    sa.Column("run_id", sa.ForeignKey("run.run_id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("state", sa.Text, nullable=False, server_default=sa.text("'ready'")),
    sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("claimed_by", sa.Text),
    sa.Column("last_heartbeat_at", _TIME),
    sa.Column("sent_at", _TIME),
    sa.Column("last_error", sa.Text),
    sa.Column("closed_at", _TIME),
    sa.Column("sources", sa.ARRAY(sa.Text), nullable=False, server_default=sa.text("'{}'")),
    sa.Column("fetched_bytes", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("retries", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("transfers_of", sa.Text),
    sa.Index(
        "chunk_open", "run_id", "number", postgresql_where=sa.text("state IN ('ready', 'claimed')")
    ),
    sa.Index("chunk_claimed", "last_heartbeat_at", postgresql_where=sa.text("state = 'claimed'")),
    sa.Index(
        "chunk_sent",
        "run_id",
        "sent_at",
        postgresql_where=sa.text("state = 'ready' AND sent_at IS NOT NULL"),
    ),
    sa.Index(
        "chunk_unsent",
        "run_id",
        "number",
        postgresql_where=sa.text("state = 'ready' AND sent_at IS NULL"),
    ),
)

service_lock = sa.Table(
    "service_lock",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text),
    sa.Column("since", _TIME, nullable=False, server_default=_NOW),
    sa.Column("heartbeat_at", _TIME, nullable=False, server_default=_NOW),
    sa.Column("next_start_at", _TIME),
)

obstacle = sa.Table(
    "obstacle",
    METADATA,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("since", _TIME, nullable=False, server_default=_NOW),
    sa.Column("last_seen_at", _TIME, nullable=False, server_default=_NOW),
    sa.Column("next_try_at", _TIME, nullable=False),
    sa.Column("cleared_at", _TIME),
    sa.Column("is_for_ingest", sa.Boolean, nullable=False, server_default=sa.false()),
)

run_obstacle = sa.Table(
    "run_obstacle",
    METADATA,
    sa.Column("run_id", sa.ForeignKey("run.run_id"), primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("sources", sa.ARRAY(sa.Text), nullable=False, server_default=sa.text("'{}'")),
    sa.Column("is_listing", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.ForeignKeyConstraint(
        ["kind", "subject"], ["obstacle.kind", "obstacle.subject"], ondelete="CASCADE"
    ),
    sa.Index("run_obstacle_obstacle", "kind", "subject"),
)

archive_connection = sa.Table(
    "archive_connection",
    METADATA,
    sa.Column("host", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, primary_key=True),
    sa.Column("connections", sa.Integer, nullable=False),
    sa.Column("asked_at", _TIME, nullable=False, server_default=sa.text("clock_timestamp()")),
    sa.Column("expires_at", _TIME, nullable=False),
)

run_product = sa.Table(
    "run_product",
    METADATA,
    sa.Column("run_id", sa.ForeignKey("run.run_id"), primary_key=True),
    sa.Column("product_id", _ID, sa.ForeignKey("product.product_id"), primary_key=True),
    sa.Column("chunk_number", sa.Integer),
    sa.Column("result", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("detail", sa.Text),
    sa.Column("recorded_at", _TIME),
    sa.Column("source", sa.Text),
    sa.Column("image_url", sa.Text),
    sa.Column("label_url", sa.Text),
    sa.ForeignKeyConstraint(["run_id", "chunk_number"], ["chunk.run_id", "chunk.number"]),
    sa.Index("run_product_chunk", "run_id", "chunk_number"),
    sa.Index(
        "run_product_failed",
        "product_id",
        "recorded_at",
        postgresql_where=sa.text("result = 'failed'"),
    ),
)

outcome = sa.Table(
    "outcome",
    METADATA,
    sa.Column("product_id", _ID, sa.ForeignKey("product.product_id"), primary_key=True),
    sa.Column("classifier", _ID, sa.ForeignKey("classifier.sha256"), primary_key=True),
    sa.Column("run_id", sa.ForeignKey("run.run_id"), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("scores", sa.ARRAY(sa.REAL, dimensions=1)),
    sa.Column("reason", sa.Text),
    sa.Column("detail", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("finished_at", _TIME, nullable=False, server_default=_NOW),
    sa.Column("missing_share", sa.REAL),
    sa.Column("is_lasting", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Index(
        "outcome_failed", "classifier", "reason", postgresql_where=sa.text("state = 'failed'")
    ),
)

outcome_history = sa.Table(
    "outcome_history",
    METADATA,
    sa.Column("history_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("product_id", _ID, sa.ForeignKey("product.product_id"), nullable=False),
    sa.Column("classifier", _ID, sa.ForeignKey("classifier.sha256"), nullable=False),
    sa.Column("run_id", sa.ForeignKey("run.run_id"), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("scores", sa.ARRAY(sa.REAL, dimensions=1)),
    sa.Column("reason", sa.Text),
    sa.Column("detail", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("finished_at", _TIME, nullable=False),
    sa.Column("missing_share", sa.REAL),
    sa.Column("is_lasting", sa.Boolean, nullable=False),
    sa.Column("replaced_at", _TIME, nullable=False, server_default=_NOW),
    sa.Column("replaced_by", sa.ForeignKey("run.run_id")),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Index("outcome_history_product", "product_id", "classifier"),
)

image_class = sa.Table(
    "image_class",
    METADATA,
    sa.Column("code", sa.Text, primary_key=True),
    sa.Column("position", sa.SmallInteger, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("grouping", sa.Text, nullable=False),
)

classification = sa.Table(
    "classification",
    METADATA,
    sa.Column("product_id", _ID, primary_key=True),
    sa.Column("classifier", _ID, primary_key=True),
    sa.Column("class", sa.ForeignKey("image_class.code"), primary_key=True),
    sa.Column("probability", sa.REAL, nullable=False),
    sa.ForeignKeyConstraint(
        ["product_id", "classifier"],
        ["outcome.product_id", "outcome.classifier"],
        ondelete="CASCADE",
    ),
    sa.Index(
        "classification_search", "classifier", "class", sa.text("probability DESC"), "product_id"
    ),
)

class_threshold = sa.Table(
    "class_threshold",
    METADATA,
    sa.Column("classifier", _ID, sa.ForeignKey("classifier.sha256"), primary_key=True),
    sa.Column("class", sa.ForeignKey("image_class.code"), primary_key=True),
    sa.Column("threshold", sa.REAL, nullable=False),
)
