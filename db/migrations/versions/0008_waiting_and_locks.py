"""Work waits for what it needs; named locks are rows."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# The archives that list a chunk's products: where one of them is down, the chunk waits. The indexes
# are as small as the work in progress, so a claim in a run of a million products reads few rows.
WAITING_CHUNKS = """
ALTER TABLE chunk ADD sources text[] NOT NULL DEFAULT '{}';
UPDATE chunk SET sources = ARRAY(
    SELECT DISTINCT coalesce(product.source, '')
    FROM run_product JOIN product USING (product_id)
    WHERE run_product.run_id = chunk.run_id AND chunk_number = number
)
WHERE state IN ('ready', 'claimed');
CREATE INDEX chunk_claimed ON chunk (last_heartbeat_at) WHERE state = 'claimed';
CREATE INDEX chunk_sent ON chunk (run_id, sent_at) WHERE state = 'ready' AND sent_at IS NOT NULL;
CREATE INDEX chunk_unsent ON chunk (run_id, number)
    WHERE state = 'ready' AND sent_at IS NULL;
"""

WAITING_CHUNKS_BACK = """
DROP INDEX chunk_unsent, chunk_sent, chunk_claimed;
ALTER TABLE chunk DROP sources;
"""

# A lock without a holder is free; `since` is then when it was last taken. A periodic task may be
# started before its interval is over, at `next_start_at`.
LOCKS = """
CREATE TABLE service_lock (
    name text PRIMARY KEY,
    holder text,
    since timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now(),
    next_start_at timestamptz
);
"""

LOCKS_BACK = "DROP TABLE service_lock;"

# What work waits for, and which runs: their listings, and the chunks of the archives in `sources`.
# The scheduled ingest has no run. An obstacle that is gone stays for a while, should it come back.
OBSTACLES = """
CREATE TABLE obstacle (
    kind text NOT NULL,
    subject text NOT NULL,
    reason text NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    next_try_at timestamptz NOT NULL,
    cleared_at timestamptz,
    is_for_ingest boolean NOT NULL DEFAULT false,
    PRIMARY KEY (kind, subject)
);
CREATE TABLE run_obstacle (
    run_id integer NOT NULL REFERENCES run,
    kind text NOT NULL,
    subject text NOT NULL,
    sources text[] NOT NULL DEFAULT '{}',
    is_listing boolean NOT NULL DEFAULT false,
    PRIMARY KEY (run_id, kind, subject),
    FOREIGN KEY (kind, subject) REFERENCES obstacle ON DELETE CASCADE
);
CREATE INDEX run_obstacle_obstacle ON run_obstacle (kind, subject);
"""

OBSTACLES_BACK = "DROP TABLE run_obstacle, obstacle;"

# Connections to an archive host that processes hold until a time, or, with none, wait for; what was
# transferred, and for which claimant it was added last, so that a repeated call does not add it
# twice.
TRANSFERS = """
CREATE TABLE archive_connection (
    host text NOT NULL,
    holder text NOT NULL,
    connections integer NOT NULL CHECK (connections >= 0),
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (host, holder)
);
ALTER TABLE run
    ADD fetched_bytes bigint NOT NULL DEFAULT 0, ADD retries integer NOT NULL DEFAULT 0,
    ADD transfers_of text;
ALTER TABLE chunk
    ADD fetched_bytes bigint NOT NULL DEFAULT 0, ADD retries integer NOT NULL DEFAULT 0,
    ADD transfers_of text;
"""

TRANSFERS_BACK = """
ALTER TABLE chunk DROP fetched_bytes, DROP retries, DROP transfers_of;
ALTER TABLE run DROP fetched_bytes, DROP retries, DROP transfers_of;
DROP TABLE archive_connection;
"""


# Archives of a run that are still to be listed, and why others cannot be: a run continues without
# these and ends as failed.
UNLISTED = """
ALTER TABLE run ADD unlisted text[] NOT NULL DEFAULT '{}', ADD listing_error text;
UPDATE run SET unlisted = archives WHERE state = 'listing';
ALTER TABLE run ADD CONSTRAINT run_finished_is_listed CHECK (
    state <> 'finished' OR (cardinality(unlisted) = 0 AND listing_error IS NULL)
);
"""

UNLISTED_BACK = """
UPDATE run SET state = 'failed', finished_at = now(), error = concat_ws(
    ' ', listing_error, 'Not all archives were listed before the tables were downgraded.'
) WHERE state = 'running' AND (cardinality(unlisted) > 0 OR listing_error IS NOT NULL);
ALTER TABLE run DROP unlisted, DROP listing_error;
"""


def upgrade() -> None:
    """Let work wait for what it needs, and create the tables of locks and connections."""
    op.execute(WAITING_CHUNKS)
    op.execute(LOCKS)
    op.execute(OBSTACLES)
    op.execute(TRANSFERS)
    op.execute(UNLISTED)


def downgrade() -> None:
    """Forget what work waits for, the locks, and the counts of transfers."""
    op.execute(UNLISTED_BACK)
    op.execute(TRANSFERS_BACK)
    op.execute(OBSTACLES_BACK)
    op.execute(LOCKS_BACK)
    op.execute(WAITING_CHUNKS_BACK)
