"""Plain names: chunks are claimed and send heartbeats, runs reclassify."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# A renamed column is renamed in its constraints too; a value is not.
RENAME = """
ALTER TABLE run RENAME again TO reclassify;
ALTER TABLE run RENAME taken_by TO claimed_by;
ALTER TABLE run RENAME taken_at TO last_heartbeat_at;
ALTER TABLE run RENAME CONSTRAINT run_check2 TO run_claim_has_heartbeat;
ALTER TABLE chunk RENAME taken_by TO claimed_by;
ALTER TABLE chunk RENAME taken_at TO last_heartbeat_at;

DROP INDEX chunk_open;
ALTER TABLE chunk DROP CONSTRAINT chunk_state_check, DROP CONSTRAINT chunk_check1;
UPDATE chunk SET state = 'claimed' WHERE state = 'taken';
ALTER TABLE chunk
    ADD CONSTRAINT chunk_state_check CHECK (state IN ('ready', 'claimed', 'done', 'split')),
    ADD CONSTRAINT chunk_claim_has_heartbeat CHECK (
        state <> 'claimed' OR (claimed_by IS NOT NULL AND last_heartbeat_at IS NOT NULL)
    );
CREATE INDEX chunk_open ON chunk (run_id, number) WHERE state IN ('ready', 'claimed');
"""

RENAME_BACK = """
DROP INDEX chunk_open;
ALTER TABLE chunk DROP CONSTRAINT chunk_state_check, DROP CONSTRAINT chunk_claim_has_heartbeat;
UPDATE chunk SET state = 'taken' WHERE state = 'claimed';
ALTER TABLE run RENAME CONSTRAINT run_claim_has_heartbeat TO run_check2;
ALTER TABLE run RENAME last_heartbeat_at TO taken_at;
ALTER TABLE run RENAME claimed_by TO taken_by;
ALTER TABLE run RENAME reclassify TO again;
ALTER TABLE chunk RENAME last_heartbeat_at TO taken_at;
ALTER TABLE chunk RENAME claimed_by TO taken_by;
ALTER TABLE chunk
    ADD CONSTRAINT chunk_state_check CHECK (state IN ('ready', 'taken', 'done', 'split')),
    ADD CONSTRAINT chunk_check1 CHECK (
        state <> 'taken' OR (taken_by IS NOT NULL AND taken_at IS NOT NULL)
    );
CREATE INDEX chunk_open ON chunk (run_id, number) WHERE state IN ('ready', 'taken');
"""


def upgrade() -> None:
    """Rename columns, a chunk state, and the constraints and the index that name them."""
    op.execute(RENAME)


def downgrade() -> None:
    """Give all of them their old names."""
    op.execute(RENAME_BACK)
