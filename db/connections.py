"""Connections to archive hosts, shared by the processes of all workers: leases in the database.

A lease ends when its holder gives it back or stops renewing it, for example because it died. What
finds no connection free has a place in a queue, one for each run and host, which is kept until the
run asks again. All times are the database's.
"""

from collections.abc import Collection

import sqlalchemy as sa

from mernet.db.engine import transaction
from mernet.db.obstacles import ObstacleKind, remove, stop_waiting, try_now
from mernet.db.tables import archive_connection

PLACE_SECONDS = 60.0
"""How long a place in the queue is kept for who does not ask again."""

# The lock makes one process after the other count what is free; it is held for these few statements
# only.
LOCK = sa.text("LOCK TABLE archive_connection IN SHARE ROW EXCLUSIVE MODE")

# A row without connections is a place in the queue.
QUEUE = sa.text("""
WITH expired AS (
    DELETE FROM archive_connection
    WHERE expires_at <= now() AND NOT (holder = :place AND host = ANY (:hosts))
)
INSERT INTO archive_connection AS known (host, holder, connections, expires_at)
SELECT host, :place, 0, now() + make_interval(secs => :place_seconds)
FROM unnest(CAST(:hosts AS text[])) AS asked (host)
ON CONFLICT (host, holder) DO UPDATE SET
    asked_at = CASE WHEN known.expires_at > now() THEN known.asked_at ELSE excluded.asked_at END,
    expires_at = excluded.expires_at
""")

# One connection is kept for each who asked earlier.
FREE = sa.text("""
SELECT min(:limit - taken.connections - earlier.places)::integer
FROM archive_connection AS mine
CROSS JOIN LATERAL (
    SELECT coalesce(sum(connections), 0) AS connections
    FROM archive_connection AS other
    WHERE other.host = mine.host AND other.expires_at > now()
) AS taken
CROSS JOIN LATERAL (
    SELECT count(*) AS places
    FROM archive_connection AS other
    WHERE other.host = mine.host AND other.expires_at > now() AND other.connections = 0
      AND (other.asked_at, other.holder) < (mine.asked_at, mine.holder)
) AS earlier
WHERE mine.holder = :place AND mine.host = ANY (:hosts)
""")

GRANT = sa.text("""
WITH granted AS (
    DELETE FROM archive_connection WHERE holder = :place AND host = ANY (:hosts) RETURNING host
)
INSERT INTO archive_connection (host, holder, connections, expires_at)
SELECT host, :holder, :connections, now() + make_interval(secs => :seconds) FROM granted
""")


@transaction
def lease(
    connection: sa.Connection,
    holder: str,
    run_id: int | None,
    hosts: Collection[str],
    wanted: int,
    limit: int,
    seconds: float,
) -> int:
    """Lease connections to archive hosts: the same number to each, or none to any.

    They are granted in the order of asking: who asks later leaves one for each who waits.

    Args:
        connection: The function's own transaction; callers pass the engine.
        holder: Who leases them; a name that nobody else has.
        run_id: The run for which they are; None for the check for new products. It has one place
            in the queue of each host, and waits no longer for those of which any are granted.
        hosts: The hosts, at least one.
        wanted: How many connections the holder can use.
        limit: The most connections to one host, of all holders together.
        seconds: When the lease ends, unless it is renewed.

    Returns:
        How many connections to each host the holder now has; 0 if a host has none left.
    """
    connection.execute(LOCK)
    place = "ingest" if run_id is None else f"run {run_id}"
    asked = {"place": place, "hosts": sorted(set(hosts))}
    connection.execute(QUEUE, asked | {"place_seconds": PLACE_SECONDS})
    free: int = connection.execute(FREE, asked | {"limit": limit}).scalar_one()
    granted = max(0, min(wanted, free))
    if granted:
        lasting = {"holder": holder, "connections": granted, "seconds": seconds}
        connection.execute(GRANT, lasting | asked)
        stop_waiting(connection, ObstacleKind.CONNECTIONS, hosts, run_id)
    return granted


@transaction
def busiest(connection: sa.Connection, hosts: Collection[str]) -> str:
    """Return that one of these hosts with most connections in use and places in its queue."""
    leased = archive_connection.c
    order = (
        sa.select(leased.host)
        .where(leased.host.in_(hosts), leased.expires_at > sa.func.now())
        .group_by(leased.host)
        .order_by(sa.func.sum(leased.connections).desc(), sa.func.count().desc(), leased.host)
        .limit(1)
    )
    return connection.scalar(order) or min(hosts)


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
    """End a holder's leases; what waits for connections to these hosts is due."""
    leased = archive_connection.c
    ended = sa.delete(archive_connection).where(leased.holder == holder).returning(leased.host)
    hosts = set(connection.scalars(ended))
    in_use = sa.select(leased.host).where(
        leased.host.in_(hosts), leased.connections > 0, leased.expires_at > sa.func.now()
    )
    used = set(connection.scalars(in_use))
    try_now(connection, ObstacleKind.CONNECTIONS, used)
    for host in sorted(hosts - used):
        remove(connection, ObstacleKind.CONNECTIONS, host)
