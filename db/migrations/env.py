"""Run by alembic: migrate over the connection that `mernet.db.migrate` hands in."""

from alembic import context

from mernet.db.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
