"""To claims and heartbeats and back, with a run in the middle of its work."""

import pytest
from alembic import command

from fixtures.ledger import move
from mernet.db import ledger, migrate
from mernet.db.ledger import publish_chunk
from mernet.db.publish import Classified

BEFORE = "0005"
NAMES = tuple(f"1P{clock:09d}EFF0000P2600L2M1" for clock in (1, 2, 3))
WORK = (
    "INSERT INTO product (product_id, rover, sequence, lines, line_samples, image_url)"
    " SELECT unnest(CAST(:names AS text[])), 'Opportunity', 'P2600', 1024, 1024, '1.img'",
    "INSERT INTO run (kind, state, classifier, archives, products, chunk_size, again, taken_by,"
    " taken_at) VALUES ('full', 'running', repeat('a', 64), '{sample}', 'edr', 1, true, 'lister',"
    " '2026-01-02T03:04:05Z')",
    "INSERT INTO chunk (run_id, number, state, attempts, taken_by, taken_at, closed_at) VALUES"
    " (1, 1, 'done', 1, 'one', now(), now()), (1, 2, 'taken', 2, 'two', now(), NULL),"
    " (1, 3, 'ready', 0, NULL, NULL, NULL)",
    "INSERT INTO run_product (run_id, product_id, chunk_number)"
    " SELECT 1, name, number FROM unnest(CAST(:names AS text[]))"
    " WITH ORDINALITY AS listed (name, number)",
)
STATES = "SELECT state FROM chunk ORDER BY number"


@pytest.fixture
def old(make_old_tables):
    """The tables as they were before; of the run's chunks, one is done, one taken, one ready."""
    story = make_old_tables(BEFORE)
    for statement in WORK:
        story.execute(statement, **({"names": list(NAMES)} if ":names" in statement else {}))
    return story


@pytest.fixture
def upgraded(old):
    """The same database at the version of this program."""
    migrate.upgrade(old.engine)
    migrate.check_current(old.engine)
    return old


def test_runs_and_chunks_keep_their_values_under_the_new_names(upgraded):
    assert ledger.get_run(upgraded.engine).reclassify
    assert upgraded.rows(STATES) == [("done",), ("claimed",), ("ready",)]
    assert upgraded.rows("SELECT claimed_by, last_heartbeat_at::date::text FROM run") == [
        ("lister", "2026-01-02")
    ]
    assert upgraded.rows("SELECT claimed_by FROM chunk ORDER BY number") == [
        ("one",),
        ("two",),
        (None,),
    ]


def test_a_chunk_being_worked_on_still_belongs_to_its_worker_and_can_be_published(upgraded):
    assert upgraded.claim(1, 2, "another") is None
    assert ledger.heartbeat(upgraded.engine, 1, 2, "two")
    claimed = upgraded.claim(1, 2, "two")
    assert claimed.attempts == 2
    outcomes = [Classified(NAMES[1], (0.95, *[0.1] * 24))]
    assert publish_chunk(upgraded.engine, claimed, "two", outcomes)
    assert upgraded.publish(1, 3)
    assert upgraded.rows("SELECT state FROM run") == [("finished",)]


def test_the_rules_hold_under_the_new_names(upgraded):
    assert upgraded.is_refused("UPDATE chunk SET state = 'taken' WHERE number = 2")
    assert upgraded.is_refused("UPDATE chunk SET claimed_by = NULL WHERE number = 2")
    assert upgraded.is_refused("UPDATE run SET last_heartbeat_at = NULL")


def test_going_back_gives_everything_its_old_name_and_its_old_rules(old):
    constraints = (
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid IN ('run'::regclass, 'chunk'::regclass) ORDER BY 1, 2"
    )
    held = "SELECT run.again, run.taken_by, chunk.* FROM chunk JOIN run USING (run_id) ORDER BY 4"
    before = old.rows(constraints), old.rows(held)
    migrate.upgrade(old.engine)
    move(old.engine, command.downgrade, BEFORE)
    assert (old.rows(constraints), old.rows(held)) == before
    assert old.is_refused("UPDATE chunk SET taken_by = NULL WHERE number = 2")
