"""Readers of the Atlas may read the view and do nothing else; the service has rights of its own."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# Roles belong to the server, not to a database: another database may have made it, or be making it.
SERVICE_ROLE = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'mernet_service') THEN
        BEGIN
            CREATE ROLE mernet_service NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END IF;
END $$;
"""

# A condition of a reader's query may call a function that tells the values it sees, as the message
# of a failed cast does. `security_barrier` applies it only to rows that the view shows. The planner
# then plans the view by itself, without the order that the query asks for, so the view has that of
# the index `classification_search`, and `server_rights.READER_SETTINGS` lets it be used. The
# service's own searches read the view without a barrier.
BARRIER = """
ALTER VIEW atlas_search RENAME TO shown_classification;
CREATE VIEW atlas_search WITH (security_barrier) AS
    SELECT * FROM shown_classification ORDER BY class, confidence DESC, product_id;
DO $$
DECLARE
    reader record;
BEGIN
    FOR reader IN
        SELECT DISTINCT rolname
        FROM pg_class CROSS JOIN LATERAL aclexplode(relacl) AS given
        JOIN pg_roles ON pg_roles.oid = grantee
        WHERE pg_class.oid = 'shown_classification'::regclass AND grantee <> relowner
    LOOP
        EXECUTE format('GRANT SELECT ON atlas_search TO %I', reader.rolname);
        EXECUTE format('REVOKE ALL ON shown_classification FROM %I', reader.rolname);
    END LOOP;
END $$;
"""

NO_BARRIER = """
DROP VIEW atlas_search;
ALTER VIEW shown_classification RENAME TO atlas_search;
GRANT SELECT ON atlas_search TO mernet_atlas;
"""

# Rows only: the service changes no table, creates none but temporary ones, and never deletes what
# was listed, what a run did, or what was replaced.
SERVICE_RIGHTS = """
DO $$
DECLARE
    ours record;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO mernet_service', current_schema());
    FOR ours IN
        SELECT oid::regclass AS named, relname, relkind FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'v')
            AND relowner = (SELECT relowner FROM pg_class WHERE oid = 'product'::regclass)
    LOOP
        EXECUTE format('GRANT SELECT ON %s TO mernet_service', ours.named);
        IF ours.relkind = 'r' AND ours.relname NOT IN ('alembic_version', 'image_class') THEN
            EXECUTE format('GRANT INSERT ON %s TO mernet_service', ours.named);
            IF ours.relname NOT IN ('outcome_history', 'product_history') THEN
                EXECUTE format('GRANT UPDATE ON %s TO mernet_service', ours.named);
            END IF;
            IF ours.relname NOT IN (
                'product', 'classifier', 'promotion', 'run', 'chunk', 'run_product',
                'outcome_history', 'product_history'
            ) THEN
                EXECUTE format('GRANT DELETE ON %s TO mernet_service', ours.named);
            END IF;
        END IF;
    END LOOP;
    GRANT UPDATE (replaced_by) ON outcome_history TO mernet_service;
END $$;
"""

NO_SERVICE_RIGHTS = """
DO $$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT DISTINCT pg_class.oid::regclass AS named
        FROM pg_class CROSS JOIN LATERAL aclexplode(relacl) AS given
        WHERE relnamespace = current_schema()::regnamespace
            AND grantee = 'mernet_service'::regrole
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM mernet_service', granted.named);
    END LOOP;
    EXECUTE format('REVOKE ALL ON SCHEMA %I FROM mernet_service', current_schema());
END $$;
"""


def upgrade() -> None:
    """Put the barrier before the readers, and grant the service its rights."""
    op.execute(SERVICE_ROLE)
    op.execute(BARRIER)
    op.execute(SERVICE_RIGHTS)


def downgrade() -> None:
    """Remove the barrier and the rights; the role stays, which other databases may use."""
    op.execute(NO_SERVICE_RIGHTS)
    op.execute(NO_BARRIER)
