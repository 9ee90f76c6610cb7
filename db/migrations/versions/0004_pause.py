"""Runs can be paused: none of their chunks is begun until they are resumed."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; no run is paused."""
    op.execute("ALTER TABLE run ADD paused boolean NOT NULL DEFAULT false")


def downgrade() -> None:
    """Drop the column; paused runs go on."""
    op.execute("ALTER TABLE run DROP paused")
