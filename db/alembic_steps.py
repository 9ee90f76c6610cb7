"""Alembic's steps from one version of the tables to another, over an open connection."""

import sqlalchemy as sa
from alembic import command
from alembic.config import Config


def upgrade_to_newest(connection: sa.Connection) -> None:
    """Run the migrations that the database has not had yet, in the connection's transaction."""
    command.upgrade(configuration(connection), "head")


def configuration(connection: sa.Connection) -> Config:
    """Return what alembic's commands need to migrate over `connection`."""
    config = Config()
    config.set_main_option("script_location", "mernet.db:migrations")
    config.attributes["connection"] = connection
    return config
