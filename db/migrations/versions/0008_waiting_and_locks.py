"""Work waits for what it needs; named locks are rows."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# A chunk may not be claimed before `not_before`; `wait_reason` says what it waits for. The indexes
# are as small as the work in progress, so a claim in a run of a million products reads few rows.
WAITING_CHUNKS = """
ALTER TABLE chunk ADD not_before timestamptz, ADD wait_reason text;
CREATE INDEX chunk_claimed ON chunk (last_heartbeat_at) WHERE state = 'claimed';
CREATE INDEX chunk_sent ON chunk (run_id, sent_at) WHERE state = 'ready' AND sent_at IS NOT NULL;
CREATE INDEX chunk_unsent ON chunk (run_id, not_before NULLS FIRST, number)
    WHERE state = 'ready' AND sent_at IS NULL;
"""

WAITING_CHUNKS_BACK = """
DROP INDEX chunk_unsent, chunk_sent, chunk_claimed;
ALTER TABLE chunk DROP not_before, DROP wait_reason;
"""

# A lock without a holder is free; `since` is then when it was last taken.
LOCKS = """
CREATE TABLE service_lock (
    name text PRIMARY KEY,
    holder text,
    since timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now()
);
"""

LOCKS_BACK = "DROP TABLE service_lock;"

# What work waits for, and which runs. When the obstacle is gone, so are its rows here.
OBSTACLES = """
CREATE TABLE obstacle (
    kind text NOT NULL,
    subject text NOT NULL,
    reason text NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    next_try_at timestamptz NOT NULL,
    PRIMARY KEY (kind, subject)
);
CREATE TABLE run_obstacle (
    run_id integer NOT NULL REFERENCES run,
    kind text NOT NULL,
    subject text NOT NULL,
    PRIMARY KEY (run_id, kind, subject),
    FOREIGN KEY (kind, subject) REFERENCES obstacle ON DELETE CASCADE
);
CREATE INDEX run_obstacle_obstacle ON run_obstacle (kind, subject);
ALTER TABLE run ADD not_before timestamptz, ADD wait_reason text;
"""

OBSTACLES_BACK = """
ALTER TABLE run DROP not_before, DROP wait_reason;
DROP TABLE run_obstacle, obstacle;
"""

# Connections to an archive host that processes hold until a time; and what was transferred.
TRANSFERS = """
CREATE TABLE archive_connection (
    host text NOT NULL,
    holder text NOT NULL,
    connections integer NOT NULL CHECK (connections > 0),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (host, holder)
);
ALTER TABLE run ADD fetched_bytes bigint NOT NULL DEFAULT 0, ADD retries integer NOT NULL DEFAULT 0;
ALTER TABLE chunk
    ADD fetched_bytes bigint NOT NULL DEFAULT 0, ADD retries integer NOT NULL DEFAULT 0;
"""

TRANSFERS_BACK = """
ALTER TABLE chunk DROP fetched_bytes, DROP retries;
ALTER TABLE run DROP fetched_bytes, DROP retries;
DROP TABLE archive_connection;
"""


def upgrade() -> None:
    """Let work wait for what it needs, and create the tables of locks and connections."""
    op.execute(WAITING_CHUNKS)
    op.execute(LOCKS)
    op.execute(OBSTACLES)
    op.execute(TRANSFERS)


def downgrade() -> None:
    """Forget what work waits for, the locks, and the counts of transfers."""
    op.execute(TRANSFERS_BACK)
    op.execute(OBSTACLES_BACK)
    op.execute(LOCKS_BACK)
    op.execute(WAITING_CHUNKS_BACK)
