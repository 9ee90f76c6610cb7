"""A run of a million products does not slow down the claims of its chunks."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from mernet.db import ledger, obstacles
from mernet.db.obstacles import ObstacleKind, Patience

OPEN_CHUNKS = 30_000
LEASE, ATTEMPTS = 600, 3


@pytest.fixture
def large_run(story) -> int:
    """A run with 30,000 open chunks, of which only the first has products; nothing is sent."""
    run_id = story.listed(count=4)
    story.execute(
        "INSERT INTO chunk (run_id, number) SELECT :run_id, n FROM generate_series(2, :last) AS n",
        run_id=run_id,
        last=OPEN_CHUNKS,
    )
    story.execute("ANALYZE")
    return run_id


@contextmanager
def plans(engine: sa.Engine) -> Iterator[list[str]]:
    """Collect the plan of each statement that reads or changes chunks."""
    found: list[str] = []
    is_explaining = False

    def explain(connection, cursor, statement, parameters, context, many):
        nonlocal is_explaining
        if is_explaining or "chunk" not in statement:
            return
        is_explaining = True
        rows = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
        found.append("\n".join(row[0] for row in rows))
        is_explaining = False

    sa.event.listen(engine, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        sa.event.remove(engine, "before_cursor_execute", explain)


def test_no_statement_of_a_claim_or_of_the_messages_reads_all_chunks(story, large_run):
    engine = story.engine
    with plans(engine) as found:
        ledger.take_unsent(engine, large_run, 8)
        ledger.claim_chunk(engine, large_run, 1, "worker", LEASE, ATTEMPTS)
        ledger.heartbeat(engine, large_run, 1, "worker")
        host = ObstacleKind.ARCHIVE_HOST
        obstacles.report(engine, host, "https://a", "down", Patience(0, 0))
        ledger.postpone(engine, large_run, 1, "worker", host, "https://a", [""])
        ledger.take_unsent(engine, large_run, 8)
        ledger.stale(engine, LEASE, 0)
        ledger.unsent_runs(engine)
        ledger.claim_chunk(engine, large_run, 1, "worker", LEASE, ATTEMPTS)
        ledger.release(engine, large_run, 1, "worker", counted=False)
        ledger.mark_unsent(engine, large_run, [2, 3])
        ledger.mark_sent(engine, large_run, 4)
        story.publish(large_run, 1)
    assert len(found) > 10
    assert "\n\n".join(plan for plan in found if "Seq Scan on chunk" in plan) == ""
