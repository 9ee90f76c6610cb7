"""How far the products of a registry search were taken up, by the time of their harvest."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# A row is about a file, which has a hash, or about a search, whose url is that of its source.
HARVEST = """
ALTER TABLE listing_state
    ADD harvested_to timestamptz,
    ALTER sha256 DROP NOT NULL,
    ADD CONSTRAINT listing_state_file_or_search CHECK ((sha256 IS NULL) <> (harvested_to IS NULL));
"""

FILES_ONLY = """
DELETE FROM listing_state WHERE sha256 IS NULL;
ALTER TABLE listing_state
    DROP CONSTRAINT listing_state_file_or_search,
    DROP harvested_to,
    ALTER sha256 SET NOT NULL;
"""


def upgrade() -> None:
    """Let a row tell a harvest time instead of a hash."""
    op.execute(HARVEST)


def downgrade() -> None:
    """Forget the searches; the next look at each lists all of it."""
    op.execute(FILES_ONLY)
