"""Obstacles: what work waits for, such as an archive host that is down, and which runs wait.

Work that meets an obstacle is put off, not failed. Of a run that waits, only one chunk is sent when
the obstacle's next try is due. Whoever sees that the obstacle is gone clears it, and everything
that waited for it is due at once. All times are the database's.

Transactions lock obstacles first, several in their order (`_lock`), then what waits for them.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa

from mernet.db.engine import storable_text, transaction, why_not_writable
from mernet.db.tables import obstacle, run, run_obstacle, service_lock

FORGET_AFTER = "1 day"
"""An obstacle that nobody has met for this long concerns nobody any more."""


LOST_AFTER = "5 minutes"
"""Workers of a host meet an obstacle of that host much more often, as long as they run."""


class ObstacleKind(StrEnum):
    """What kind of thing work waits for."""

    ARCHIVE_HOST = "archive host"
    CONNECTIONS = "connections to"
    CHECKPOINT = "checkpoint"
    DATABASE = "database"
    DEVICE = "device"
    MACHINE = "machine"


OF_ONE_HOST = (ObstacleKind.CHECKPOINT, ObstacleKind.DEVICE, ObstacleKind.MACHINE)
"""Kinds of obstacles that only the workers of one host meet."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something that work waits for.

    Attributes:
        kind: What kind of thing it is, an `ObstacleKind`.
        subject: Which one, such as https://example.org.
        reason: A sentence that says what is wrong with it.
        since: When it was first met.
        last_seen_at: When it was last met.
        next_try_at: When somebody tries next whether it is gone.
        run_ids: The open runs that wait for it; none if only the scheduled ingest does.
        seconds_left: Time until the next try; 0 if it is due.
        age_seconds: Time since it was first met.
    """

    kind: str
    subject: str
    reason: str
    since: datetime
    last_seen_at: datetime
    next_try_at: datetime
    run_ids: tuple[int, ...]
    seconds_left: float
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait before the next try.

    Attributes:
        first: Seconds before the second try.
        longest: The most seconds between two tries. The wait grows with the time since the
            obstacle was first met: it is a share of that time.
        asked_for: Seconds that the other side asked for, such as in a Retry-After; None if it did
            not. `LONGEST_ASKED_FOR` is the most that is honoured.
    """

    first: float
    longest: float
    asked_for: float | None = None


SHARE_OF_WAIT = 1 / 8
"""The next try is after this share of the time that has passed since the obstacle was met."""

LONGEST_ASKED_FOR = 3600.0

SAME_AGAIN = "1 minute"
"""An obstacle that is met again so soon after it was cleared was never really gone."""

SINCE = f"""
CASE WHEN known.cleared_at < now() - interval '{SAME_AGAIN}' THEN now() ELSE known.since END
"""

REPORT = sa.text(f"""
INSERT INTO obstacle AS known (kind, subject, reason, next_try_at)
VALUES (
    :kind, :subject, :reason, now() + make_interval(secs => greatest(:first, :asked_for))
)
ON CONFLICT (kind, subject) DO UPDATE SET
    reason = excluded.reason,
    since = {SINCE},
    cleared_at = NULL,
    last_seen_at = now(),
    next_try_at = now() + make_interval(secs => greatest(
        :asked_for,
        :first,
        least(:longest, :share * extract(epoch FROM now() - {SINCE})::float)
    ))
RETURNING extract(epoch FROM next_try_at - now())::float
""")

WITH_OPEN_RUNS = """
SELECT obstacle.kind, obstacle.subject, reason, since, last_seen_at, next_try_at,
    coalesce(array_agg(run.run_id ORDER BY run.run_id) FILTER (WHERE run.run_id IS NOT NULL), '{}')
        AS run_ids,
    greatest(0, extract(epoch FROM next_try_at - now()))::float AS seconds_left,
    extract(epoch FROM now() - obstacle.since)::float AS age_seconds
FROM obstacle
LEFT JOIN run_obstacle USING (kind, subject)
LEFT JOIN run ON run.run_id = run_obstacle.run_id AND run.finished_at IS NULL
WHERE obstacle.cleared_at IS NULL
"""

IS_OLD = (
    f"greatest(obstacle.last_seen_at, obstacle.next_try_at) < now() - interval '{FORGET_AFTER}'"
)

# An obstacle that only runs met which have ended, or a person's command, concerns nobody.
CURRENT = sa.text(
    WITH_OPEN_RUNS
    + f"""
AND NOT {IS_OLD}
GROUP BY obstacle.kind, obstacle.subject
HAVING count(run.run_id) > 0 OR obstacle.is_for_ingest
ORDER BY obstacle.since, obstacle.kind, obstacle.subject
"""
)

AMONG = sa.text(
    WITH_OPEN_RUNS
    + """
AND obstacle.kind = :kind AND obstacle.subject = ANY (:subjects)
GROUP BY obstacle.kind, obstacle.subject
ORDER BY obstacle.next_try_at DESC
"""
)

# Every open run that is not paused waits. Workers try again every few seconds.
UNWRITABLE = sa.text("""
SELECT since, now() AS last_seen_at, now() AS next_try_at, 0::float AS seconds_left,
    extract(epoch FROM now() - since)::float AS age_seconds,
    ARRAY(SELECT run_id FROM run WHERE finished_at IS NULL AND NOT paused ORDER BY 1) AS run_ids
FROM (SELECT coalesce(
    (SELECT since FROM obstacle
     WHERE kind = :kind AND subject = :subject AND cleared_at IS NULL),
    (SELECT max(heartbeat_at) FROM service_lock),
    now()
) AS since) AS began
""")

HOLDS_BACK = sa.text("""
SELECT EXISTS (
    SELECT FROM run_obstacle JOIN obstacle USING (kind, subject)
    JOIN chunk ON chunk.run_id = run_obstacle.run_id AND chunk.number = :number
    WHERE run_obstacle.run_id = :run_id
      AND obstacle.cleared_at IS NULL AND obstacle.next_try_at > now()
      AND run_obstacle.sources && chunk.sources
)
""")

# An archive of the run may be listed as soon as one of the next tries is due.
LISTING_WAITS = """
coalesce((
    SELECT bool_and(obstacle.next_try_at > now())
    FROM run_obstacle JOIN obstacle USING (kind, subject)
    WHERE run_obstacle.run_id = {run_id} AND is_listing AND obstacle.cleared_at IS NULL
), false)
"""

NOTE_WAITING = sa.text("""
INSERT INTO run_obstacle AS noted (run_id, kind, subject, sources, is_listing)
SELECT run_id, :kind, :subject, :sources, :is_listing FROM run WHERE run_id = :run_id
ON CONFLICT (run_id, kind, subject) DO UPDATE SET
    sources = ARRAY(SELECT DISTINCT unnest(noted.sources || excluded.sources)),
    is_listing = noted.is_listing OR excluded.is_listing
""").bindparams(sa.bindparam("sources", type_=sa.ARRAY(sa.Text)))


@transaction
def report(
    connection: sa.Connection,
    kind: ObstacleKind,
    subject: str,
    reason: str,
    patience: Patience,
) -> float:
    """Note that work has met an obstacle, and when to try again.

    Several reports at once have the same effect as one: the wait grows with the time that the
    obstacle is known, not with the number of reports.

    Args:
        connection: The function's own transaction; callers pass the engine.
        kind: What kind of thing the work waits for.
        subject: Which one.
        reason: A sentence that says what is wrong with it.
        patience: How long to wait before the next try.

    Returns:
        Seconds until the next try.
    """
    connection.execute(sa.delete(obstacle).where(sa.text(IS_OLD)))
    seconds: float = connection.execute(
        REPORT,
        {
            "kind": str(kind),
            "subject": storable_text(subject),
            "reason": storable_text(reason),
            "first": patience.first,
            "longest": patience.longest,
            "asked_for": min(patience.asked_for or 0.0, LONGEST_ASKED_FOR),
            "share": SHARE_OF_WAIT,
        },
    ).scalar_one()
    return seconds


def note_waiting(
    connection: sa.Connection,
    kind: ObstacleKind,
    subject: str,
    run_id: int,
    sources: Collection[str],
    is_listing: bool = False,
) -> bool:
    """Note in an open transaction that a run waits for an obstacle, if that is still there.

    The obstacle is locked until the transaction ends, so that nobody clears it meanwhile.

    Args:
        connection: The transaction.
        kind: What kind of thing the run waits for.
        subject: Which one.
        run_id: The run.
        sources: The archives whose chunks wait.
        is_listing: Whether the run's listing waits.

    Returns:
        Whether it is still there.
    """
    is_there = bool(_lock(connection, [(kind, subject)], shared=True))
    if is_there:
        connection.execute(
            NOTE_WAITING,
            {
                "run_id": run_id,
                "kind": str(kind),
                "subject": storable_text(subject),
                "sources": sorted(sources),
                "is_listing": is_listing,
            },
        )
    return is_there


def let_listing_wait(
    connection: sa.Connection, run_id: int, waits: Collection[tuple[ObstacleKind, str]]
) -> None:
    """Note in an open transaction what the listing of a run waits for, in place of what it did.

    It waits until the next try of one of them; if one is gone by now, or there is none, not at all.
    """
    there = _lock(connection, waits, shared=True)
    _wake_listings(connection, run_obstacle.c.run_id == run_id)
    for kind, subject in waits:
        is_listing = len(there) == len(set(waits))
        note_waiting(connection, kind, subject, run_id, (), is_listing=is_listing)


def listing_waits(connection: sa.Connection, run_id: int) -> bool:
    """Return in an open transaction whether the listing of a run waits."""
    return bool(
        connection.scalar(
            sa.text("SELECT " + LISTING_WAITS.format(run_id=":run_id")), {"run_id": run_id}
        )
    )


def holds_back(connection: sa.Connection, run_id: int, number: int) -> bool:
    """Return in an open transaction whether a chunk waits.

    It does not while the next try of what it waits for is due.
    """
    return bool(connection.scalar(HOLDS_BACK, {"run_id": run_id, "number": number}))


@transaction
def last_due_among(
    connection: sa.Connection, kind: ObstacleKind, subjects: Collection[str]
) -> Obstacle | None:
    """Return that obstacle of these subjects whose next try is last; None if there is none."""
    row = connection.execute(AMONG, {"kind": str(kind), "subjects": list(subjects)}).first()
    return _to_obstacle(row) if row else None


@transaction
def known_seconds(connection: sa.Connection, kind: ObstacleKind, subject: str) -> float:
    """Return how long ago an obstacle was first met; 0 if it is not there, and was not lately."""
    age = sa.func.extract("epoch", sa.func.now() - obstacle.c.since)
    lately = sa.func.now() - sa.text(f"interval '{SAME_AGAIN}'")
    known = sa.select(age).where(
        obstacle.c.kind == str(kind),
        obstacle.c.subject == storable_text(subject),
        sa.or_(obstacle.c.cleared_at.is_(None), obstacle.c.cleared_at > lately),
    )
    return float(connection.scalar(known) or 0)


@transaction
def claim_try(
    connection: sa.Connection, kind: ObstacleKind, subject: str, lease_seconds: float
) -> bool:
    """Claim the next try of an obstacle, so that only one worker of all hosts makes it.

    Returns:
        False if it is not due, which it is not while another makes it: it is due again after
        `lease_seconds`, should that one never say how it ended.
    """
    claimed = connection.execute(
        sa.update(obstacle)
        .where(_is(kind, subject), obstacle.c.next_try_at <= sa.func.now())
        .values(next_try_at=sa.func.now() + sa.func.make_interval(0, 0, 0, 0, 0, 0, lease_seconds))
    )
    return claimed.rowcount == 1


@transaction
def clear(connection: sa.Connection, kind: ObstacleKind, subject: str) -> bool:
    """Note that an obstacle is gone; what waited for it is due now.

    Returns:
        Whether it was there.
    """
    return remove(connection, kind, subject)


def remove(connection: sa.Connection, kind: ObstacleKind, subject: str) -> bool:
    """Clear an obstacle as `clear` does, in an open transaction."""
    there = _lock(connection, [(kind, subject)])
    if any(is_for_ingest for _, is_for_ingest in there):
        connection.execute(
            sa.update(service_lock)
            .where(service_lock.c.next_start_at > sa.func.now())
            .values(next_start_at=sa.func.now())
        )
    connection.execute(
        sa.update(obstacle)
        .where(_is(kind, subject))
        .values(cleared_at=sa.func.now(), is_for_ingest=False)
    )
    runs = sa.select(run_obstacle.c.run_id).where(
        _who_waits(kind, subject), run_obstacle.c.is_listing
    )
    _wake_listings(connection, run_obstacle.c.run_id.in_(runs))
    connection.execute(sa.delete(run_obstacle).where(_who_waits(kind, subject)))
    return bool(there)


@transaction
def clear_forgotten(connection: sa.Connection) -> list[tuple[str, str]]:
    """Clear the obstacles of single hosts that concern nobody any more.

    Either no open run and no ingest waits for one whose next try is due, or the host's workers are
    gone: while they run, they meet it again and again.

    Returns:
        Kind and subject of each.
    """
    known = obstacle.c
    met = sa.func.greatest(known.last_seen_at, known.next_try_at)
    waiting = sa.exists().where(
        run_obstacle.c.kind == known.kind,
        run_obstacle.c.subject == known.subject,
        run_obstacle.c.run_id == run.c.run_id,
        run.c.finished_at.is_(None),
    )
    is_lost = met < sa.func.now() - sa.text(f"interval '{LOST_AFTER}'")
    is_unwanted = sa.and_(met < sa.func.now(), ~waiting, ~known.is_for_ingest)
    forgotten = (
        sa.select(known.kind, known.subject)
        .where(
            known.kind.in_([str(kind) for kind in OF_ONE_HOST]),
            known.cleared_at.is_(None),
            sa.or_(is_lost, is_unwanted),
        )
        .order_by(known.kind, known.subject)
    )
    found = [(row.kind, row.subject) for row in connection.execute(forgotten)]
    return [
        (kind, subject)
        for kind, subject in found
        if remove(connection, ObstacleKind(kind), subject)
    ]


def _wake_listings(connection: sa.Connection, of_runs: sa.ColumnElement[bool]) -> None:
    """Let listings wait for nothing any more; other archives of theirs may still be down."""
    waits = run_obstacle.c
    in_order = (
        sa.select(waits.run_id)
        .where(of_runs, waits.is_listing)
        .order_by(waits.run_id, waits.kind, waits.subject)
        .with_for_update()
    )
    connection.execute(in_order)
    connection.execute(
        sa.update(run_obstacle).where(of_runs, waits.is_listing).values(is_listing=False)
    )


def stop_waiting(
    connection: sa.Connection, kind: ObstacleKind, subjects: Collection[str], run_id: int | None
) -> None:
    """Note in an open transaction that a run, or work without one, waits no longer.

    An obstacle for which nobody waits is cleared.
    """
    for subject, _ in _lock(connection, [(kind, subject) for subject in subjects]):
        waiting = _who_waits(kind, subject)
        connection.execute(sa.delete(run_obstacle).where(waiting, run_obstacle.c.run_id == run_id))
        if not connection.scalar(sa.select(sa.exists().where(waiting))):
            remove(connection, kind, subject)


def try_now(connection: sa.Connection, kind: ObstacleKind, subjects: Collection[str]) -> None:
    """Make the next try of obstacles due in an open transaction."""
    for subject, _ in _lock(connection, [(kind, subject) for subject in subjects]):
        connection.execute(
            sa.update(obstacle)
            .where(_is(kind, subject), obstacle.c.next_try_at > sa.func.now())
            .values(next_try_at=sa.func.now())
        )


@transaction
def seconds_since_met(
    connection: sa.Connection, keys: Collection[tuple[ObstacleKind, str]]
) -> dict[tuple[ObstacleKind, str], float]:
    """Return how long ago those of these obstacles (kind, subject) that are there were last met."""
    asked = {(str(kind), storable_text(subject)): (kind, subject) for kind, subject in keys}
    age = sa.func.extract("epoch", sa.func.now() - obstacle.c.last_seen_at)
    rows = connection.execute(
        sa.select(obstacle.c.kind, obstacle.c.subject, age.label("age")).where(
            sa.tuple_(obstacle.c.kind, obstacle.c.subject).in_(list(asked)),
            obstacle.c.cleared_at.is_(None),
        )
    )
    return {asked[row.kind, row.subject]: float(row.age) for row in rows}


@transaction
def current(connection: sa.Connection) -> list[Obstacle]:
    """Return the obstacles for which open runs or the scheduled ingest wait, the oldest first."""
    return [_to_obstacle(row) for row in connection.execute(CURRENT)]


@transaction
def let_ingest_wait(connection: sa.Connection, waits: Collection[tuple[ObstacleKind, str]]) -> None:
    """Note what the scheduled ingest waits for, in place of what it did.

    When one of these is cleared, the ingest is due if `ledger.plan_start` has planned its next one.
    """
    is_it = [_is(kind, subject) for kind, subject in waits]
    is_wanted = sa.or_(sa.false(), *is_it)
    is_changed = is_wanted != obstacle.c.is_for_ingest
    in_order = sa.select(obstacle.c.kind).order_by(obstacle.c.kind, obstacle.c.subject)
    connection.execute(in_order.where(is_changed).with_for_update())
    connection.execute(sa.update(obstacle).where(is_changed).values(is_for_ingest=is_wanted))


def unwritable_database(engine: sa.Engine) -> Obstacle | None:
    """Return the database as an obstacle if it can be read but not written; None if it can be.

    It began when an obstacle of this kind was noted, or else after the last sweep.
    """
    reason = why_not_writable(engine)
    if reason is None:
        return None
    subject = engine.url.database or "postgres"
    key = {"kind": str(ObstacleKind.DATABASE), "subject": subject}
    with engine.connect() as connection:
        row = connection.execute(UNWRITABLE, key).one()
    return _to_obstacle(row, reason=reason, **key)


def _lock(
    connection: sa.Connection,
    keys: Collection[tuple[ObstacleKind, str]],
    shared: bool = False,
) -> list[tuple[str, bool]]:
    """Lock those of these obstacles (kind, subject) that are there.

    All transactions lock them in the same order, so none waits for another that waits for it.

    Returns:
        Subject and `is_for_ingest` of each, by kind and subject.
    """
    known = obstacle.c
    there = (
        sa.select(known.kind, known.subject, known.is_for_ingest)
        .where(sa.or_(sa.false(), *(_is(kind, subject) for kind, subject in keys)))
        .order_by(known.kind, known.subject)
        .with_for_update(read=shared)
    )
    return [(row.subject, row.is_for_ingest) for row in connection.execute(there)]


def _who_waits(kind: ObstacleKind, subject: str) -> sa.ColumnElement[bool]:
    waiting = run_obstacle.c
    return sa.and_(waiting.kind == str(kind), waiting.subject == storable_text(subject))


def _is(kind: ObstacleKind, subject: str) -> sa.ColumnElement[bool]:
    """Return the condition that a row is this obstacle, and that it is not cleared."""
    known = obstacle.c
    return sa.and_(
        known.kind == str(kind),
        known.subject == storable_text(subject),
        known.cleared_at.is_(None),
    )


def _to_obstacle(row: "sa.Row[tuple[object, ...]]", **more: object) -> Obstacle:
    values = row._asdict() | more
    return Obstacle(**values | {"run_ids": tuple(values["run_ids"])})
