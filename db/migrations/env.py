"""Alembic's entry point: migrate over the connection of `mernet.db.alembic_steps`."""

from alembic import context

from mernet.db.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
