"""Leases: what one worker has taken, and until when others leave it alone."""

from datetime import timedelta

import sqlalchemy as sa


def held_by_another(table: sa.Table, claimant: str, lease_seconds: float) -> sa.ColumnElement[bool]:
    """Whether a row of `table` (run, chunk) is leased to another claimant than this one."""
    return sa.and_(table.c.claimed_by != claimant, ~lease_over(table, lease_seconds))


def lease_over(table: sa.Table, lease_seconds: float) -> sa.ColumnElement[bool]:
    """Whether the last sign of life of a row's claimant is longer ago than the lease."""
    return table.c.last_heartbeat_at <= sa.func.now() - timedelta(seconds=lease_seconds)
