"""Results stay: what a run did is recorded with the run; replaced outcomes are kept aside; sources have rank."""

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change nothing yet."""


def downgrade() -> None:
    """Change nothing yet."""
