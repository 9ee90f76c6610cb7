"""Connections to archive hosts, shared by the processes of all workers: leases in the database.

A lease ends when its holder gives it back or stops renewing it, for example because it died. All
times are the database's.
"""

from collections.abc import Collection

import sqlalchemy as sa

from mernet.db.engine import transaction
from mernet.db.tables import archive_connection

# The lock makes one process after the other count what is free; it is held for these two
# statements only.
LOCK = sa.text("LOCK TABLE archive_connection IN SHARE ROW EXCLUSIVE MODE")

LEASE = sa.text("""
WITH expired AS (
    DELETE FROM archive_connection WHERE expires_at <= now()
),
used AS (
    SELECT host, sum(connections) AS connections
    FROM archive_connection WHERE expires_at > now() GROUP BY host
),
granted AS (
    SELECT least(:wanted, min(:limit - coalesce(used.connections, 0)))::integer AS connections
    FROM unnest(CAST(:hosts AS text[])) AS asked (host) LEFT JOIN used USING (host)
)
INSERT INTO archive_connection (host, holder, connections, expires_at)
SELECT asked.host, :holder, granted.connections, now() + make_interval(secs => :seconds)
FROM unnest(CAST(:hosts AS text[])) AS asked (host) CROSS JOIN granted
WHERE granted.connections > 0
RETURNING connections
""")


@transaction
def lease(
    connection: sa.Connection,
    holder: str,
    hosts: Collection[str],
    wanted: int,
    limit: int,
    seconds: float,
) -> int:
    """Lease connections to archive hosts: the same number to each, or none to any.

    Args:
        connection: The function's own transaction; callers pass the engine.
        holder: Who leases them; a name that nobody else has.
        hosts: The hosts, at least one.
        wanted: How many connections the holder can use.
        limit: The most connections to one host, of all holders together.
        seconds: When the lease ends, unless it is renewed.

    Returns:
        How many connections to each host the holder now has; 0 if a host has none left.
    """
    connection.execute(LOCK)
    granted = connection.execute(
        LEASE,
        {
            "holder": holder,
            "hosts": sorted(set(hosts)),
            "wanted": wanted,
            "limit": limit,
            "seconds": seconds,
        },
    ).scalars()
    return next(iter(granted), 0)


@transaction
def renew(connection: sa.Connection, holder: str, seconds: float) -> None:
    """Let a holder's leases last for `seconds` from now."""
    connection.execute(
        sa.update(archive_connection)
        .where(archive_connection.c.holder == holder)
        .values(expires_at=sa.func.now() + sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds))
    )


@transaction
def give_back(connection: sa.Connection, holder: str) -> None:
    """End a holder's leases."""
    connection.execute(sa.delete(archive_connection).where(archive_connection.c.holder == holder))
