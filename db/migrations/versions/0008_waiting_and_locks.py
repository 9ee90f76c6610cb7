"""Work waits for what it needs; named locks are rows."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# A chunk may not be claimed before `not_before`; `wait_reason` says what it waits for. The indexes
# are as small as the work in hand, so that a claim in a run of a million products reads few rows.
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


def upgrade() -> None:
    """Let chunks wait, and create the table of locks."""
    op.execute(WAITING_CHUNKS)
    op.execute(LOCKS)


def downgrade() -> None:
    """Forget what chunks wait for, and the locks."""
    op.execute(LOCKS_BACK)
    op.execute(WAITING_CHUNKS_BACK)
