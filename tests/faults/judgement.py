"""Inflict a disturbance on a run, and judge what became of the run and of what is published."""

import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import redis
import sqlalchemy as sa

from faults.kinds import Disturbance, Strikes, require
from faults.scene import QUEUES, Published, Scene
from mernet.db import ledger, obstacles

END_SECONDS = 90.0
"""Longest time for a run after the disturbance's end; undisturbed it takes some seconds."""

BEGIN_SECONDS = 60.0
MESSAGES_SECONDS = 20.0
OPEN_CHUNKS = 8
"""A disturbance strikes a run that has so many chunks to do."""

IMAGES, LISTINGS = (".img",), (".tab", ".lbl")

ABANDONED_LOCKS = """
SELECT name, holder FROM service_lock
WHERE holder IS NOT NULL AND heartbeat_at < now() - interval '10 seconds'
"""

OBSTACLES = "SELECT kind, subject, reason FROM obstacle WHERE cleared_at IS NULL"
WAITING_RUNS = """
SELECT run_id, run_obstacle.kind, subject FROM run_obstacle JOIN run USING (run_id)
WHERE finished_at IS NOT NULL
"""


@dataclass
class Record:
    """What one disturbance did.

    Attributes:
        name: The disturbance.
        seed: Gives the same choices again.
        fresh: Whether nothing had been published before the run.
        first_run: The number of the first run that it disturbed.
        lasted: Seconds from its beginning to its end.
        recovery: Seconds from its end until a chunk was closed or a run ended.
        ended: Seconds from its end until no run was open.
        complaints: What was lost, changed, left behind or did not end; empty if it was survived.
    """

    name: str
    seed: int
    fresh: bool = False
    first_run: int = 0
    lasted: float = 0.0
    recovery: float = 0.0
    ended: float = 0.0
    complaints: list[str] = field(default_factory=list)


def undisturbed(scene: Scene) -> Published:
    """Return what a run publishes that nothing disturbs."""
    scene.queue_run()
    assert scene.wait_for_the_end(), f"an undisturbed run does not end\n{scene.log()[-3000:]}"
    return scene.published()


def inflict(scene: Scene, disturbance: Disturbance, seed: int, expected: Published) -> Record:
    """Disturb a run once and judge it; the scene is whole again afterwards."""
    chosen = random.Random(seed)
    is_fresh = chosen.random() < 0.5 and not disturbance.needs_results
    record = Record(disturbance.name, seed, fresh=is_fresh)
    try:
        if record.fresh:
            scene.forget()
        _disturb_a_run(scene, disturbance, chosen, record)
        _judge(scene, [disturbance], record, expected)
    except Exception as error:  # noqa: BLE001  # what it broke in the scene is a finding too
        record.complaints.append(f"{type(error).__name__}: {str(error)[:300]}")
    _make_whole(scene, record, expected)
    return record


def inflict_in_turn(
    scene: Scene, disturbances: Sequence[Disturbance], seed: int, expected: Published
) -> Record:
    """Inflict one after the other, each as short as it can be and during a run; then judge."""
    chosen = random.Random(seed)
    record = Record(", ".join(each.name for each in disturbances), seed)
    record.first_run = _next_run(scene)
    try:
        for each in disturbances:
            _begin_work(scene, each, chosen)
            with each.inflict(scene, chosen):
                scene.archive.release()
                time.sleep(each.seconds[0])
        _wait_for_the_end(scene, record)
        _judge(scene, disturbances, record, expected)
    except Exception as error:  # noqa: BLE001  # what it broke in the scene is a finding too
        record.complaints.append(f"{type(error).__name__}: {str(error)[:300]}")
    _make_whole(scene, record, expected)
    return record


def _make_whole(scene: Scene, record: Record, expected: Published) -> None:
    """After something was not survived, bring servers, workers and results back."""
    scene.archive.release()
    scene.harmed = set()
    if record.complaints:
        scene.reset()
        if _differences(expected, scene.published()):
            scene.forget()
            undisturbed(scene)


def _disturb_a_run(
    scene: Scene, disturbance: Disturbance, chosen: random.Random, record: Record
) -> None:
    record.first_run = _next_run(scene)
    _begin_work(scene, disturbance, chosen)
    began = time.monotonic()
    with disturbance.inflict(scene, chosen):
        scene.archive.release()
        time.sleep(chosen.uniform(*disturbance.seconds))
    ended = time.monotonic()
    record.lasted = ended - began
    scene.wait_until(lambda: bool(scene.rows("SELECT 1")), END_SECONDS)
    done_before = _done(scene)
    if not scene.is_busy():
        scene.queue_run()
    scene.wait_until(lambda: _done(scene) > done_before, END_SECONDS)
    record.recovery = time.monotonic() - ended
    _wait_for_the_end(scene, record)
    record.ended = time.monotonic() - ended


def _wait_for_the_end(scene: Scene, record: Record) -> None:
    if not scene.wait_for_the_end(END_SECONDS):
        record.complaints.append(
            f"hangs: {scene.open_runs()} {_chunks(scene)} {obstacles.current(scene.engine)}"
        )


def _next_run(scene: Scene) -> int:
    return int(scene.rows("SELECT coalesce(max(run_id), 0) + 1 FROM run")[0][0])


def _begin_work(scene: Scene, disturbance: Disturbance, chosen: random.Random) -> None:
    """Bring the service to where the disturbance strikes: callers of the archive wait there."""
    require(scene.wait_until(scene.is_manned, BEGIN_SECONDS), "a worker has not started")
    if disturbance.strikes is Strikes.AT_WORK:
        scene.wait_until(lambda: _has_much_to_do(scene) or not scene.is_busy(), END_SECONDS)
        scene.archive.keep_back(IMAGES, let_through=chosen.choice((0, 2, 4, 8)))
        if not _is_open(scene):
            scene.queue_run()
    else:
        scene.wait_for_the_end(END_SECONDS)
        scene.archive.keep_back(LISTINGS)
        if disturbance.strikes is Strikes.LISTING:
            scene.queue_run()
        else:
            _forget_half(scene, chosen)
            start = {Strikes.INGEST: scene.start_ingest, Strikes.CHECK: scene.start_check}
            start[disturbance.strikes]()
    begun = scene.wait_until(
        lambda: scene.archive.waiting > 0 or not scene.is_busy(), BEGIN_SECONDS
    )
    require(begun and scene.archive.waiting, f"the service is not {disturbance.strikes.value}")


def _has_much_to_do(scene: Scene) -> bool:
    ((count,),) = scene.rows("SELECT count(*) FROM chunk WHERE state = 'ready'")
    return int(count) >= OPEN_CHUNKS


def _forget_half(scene: Scene, chosen: random.Random) -> None:
    """Make half of the products new, in the order of their names for the seed's sake."""
    products = [row[0] for row in scene.rows("SELECT product_id FROM product ORDER BY 1")]
    scene.forget_some(chosen.sample(products, len(products) // 2))


def _done(scene: Scene) -> int:
    """Return how many chunks were closed and how many runs ended."""
    (row,) = scene.rows(
        "SELECT (SELECT count(*) FROM chunk WHERE closed_at IS NOT NULL) "
        "+ (SELECT count(*) FROM run WHERE finished_at IS NOT NULL)"
    )
    return int(row[0])


def _is_open(scene: Scene) -> bool:
    """Return whether a run is open, as far as is known: the database may not answer."""
    with suppress(sa.exc.DBAPIError):
        return bool(scene.open_runs())
    return True


def _chunks(scene: Scene) -> list[object]:
    return list(scene.rows("SELECT run_id, state, count(*) FROM chunk GROUP BY 1, 2 ORDER BY 1, 2"))


def _judge(
    scene: Scene, disturbances: Sequence[Disturbance], record: Record, expected: Published
) -> None:
    if record.complaints:
        return
    record.complaints += _not_finished(scene, record.first_run)
    ingests = sum(each.strikes in (Strikes.INGEST, Strikes.CHECK) for each in disturbances)
    record.complaints += _not_ingested(scene, record.first_run, ingests)
    harms = any(each.harms for each in disturbances)
    may_differ = scene.harmed if record.fresh and harms else set()
    different = _differences(expected, scene.published(), may_differ)
    record.complaints += [f"published: {each}" for each in different[:5]]
    if len(different) > 5:
        record.complaints.append(f"published: {len(different)} products differ")
    if may_differ and not record.complaints:
        record.complaints += _not_repaired(scene, expected)
    record.complaints += _left_behind(scene)


def _not_finished(scene: Scene, first_run: int) -> list[str]:
    """Runs that have not finished or cannot be reconciled."""
    complaints = []
    runs = "SELECT run_id, state, error FROM run WHERE run_id >= :first_run"
    for run_id, state, error in scene.rows(runs, first_run=first_run):
        if state != "finished":
            complaints.append(f"run {run_id} is {state}: {error}")
        elif not ledger.reconcile(scene.engine, run_id).ok:
            complaints.append(f"run {run_id}: {ledger.reconcile(scene.engine, run_id)}")
    return complaints


def _not_ingested(scene: Scene, first_run: int, ingests: int) -> list[str]:
    """Each ingest, however often it was tried, makes one run."""
    ingested = "SELECT run_id FROM run WHERE kind = 'new' AND run_id >= :first_run"
    found = scene.rows(ingested, first_run=first_run)
    return [] if len(found) == ingests else [f"{len(found)} runs over what is new: {found}"]


def _differences(
    expected: Published, found: Published, may_differ: frozenset[str] | set[str] = frozenset()
) -> list[tuple[object, ...]]:
    """Pairs of what was expected and found, of products and of classes."""
    different: list[tuple[object, ...]] = []
    wanted, got = ({row[0]: row for row in each.outcomes} for each in (expected, found))
    for product in sorted((wanted.keys() | got.keys()) - may_differ):
        if wanted.get(product) != got.get(product):
            different.append((_short(wanted.get(product)), _short(got.get(product))))
    different += [
        ("a class", row)
        for row in sorted(set(expected.classes) ^ set(found.classes))
        if row[0] not in may_differ
    ]
    if len(found.classes) != len(set(found.classes)):
        different.append(("a class doubled",))
    return different


def _short(row: tuple[object, ...] | None) -> str:
    if row is None:
        return "nothing"
    return f"{row[0]} {row[1]} {row[2] or ''}".strip()


def _not_repaired(scene: Scene, expected: Published) -> list[str]:
    scene.queue_run()
    if not scene.wait_for_the_end(END_SECONDS):
        return ["the run after it does not end"]
    different = _differences(expected, scene.published())
    return [f"not repaired by the next run: {each}" for each in different[:5]]


def _left_behind(scene: Scene) -> list[str]:
    """Claims, messages and obstacles that nobody needs any more."""

    def are_gone() -> bool:
        return not any(scene.redis.llen(queue) for queue in QUEUES)

    left = []
    if not scene.wait_until(are_gone, MESSAGES_SECONDS):
        left.append(f"messages left: { ({queue: scene.redis.llen(queue) for queue in QUEUES}) }")
    claimed = scene.rows(
        "SELECT count(*) FROM chunk JOIN run USING (run_id) "
        "WHERE chunk.state IN ('ready', 'claimed') AND run.state = 'finished'"
    )
    if claimed != [(0,)]:
        left.append(f"chunks left: {claimed[0][0]}")
    if not scene.wait_until(lambda: not scene.rows(OBSTACLES), MESSAGES_SECONDS):
        left.append(f"obstacles left: {scene.rows(OBSTACLES)}")
    if waiting := scene.rows(WAITING_RUNS):
        left.append(f"runs that have ended wait: {waiting}")
    if not scene.wait_until(lambda: not scene.rows(ABANDONED_LOCKS), MESSAGES_SECONDS):
        left.append(f"locks left: {scene.rows(ABANDONED_LOCKS)}")
    with suppress(redis.RedisError):
        if scene.redis.config_get("maxmemory") != {"maxmemory": "0"}:
            left.append("Redis is limited")
    return left
