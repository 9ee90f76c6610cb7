"""To chunks that wait and locks that are rows, and back, with work in the tables."""

import pytest
from alembic import command

from fixtures.ledger import move
from mernet.db import ledger, migrate, obstacles

BEFORE = "0006"
PRODUCT = "2P126471340EDN0000P2600L2M1"


@pytest.fixture
def old(make_old_tables):
    """The tables of an earlier version, with a run of a claimed chunk and a ready one."""
    story = make_old_tables(BEFORE)
    story.execute(
        "INSERT INTO run (kind, state, classifier, archives, products, chunk_size, reclassify)"
        " VALUES ('full', 'running', repeat('a', 64), '{sample}', 'edr', 4, false)"
    )
    story.execute(
        "INSERT INTO chunk (run_id, number, state, attempts, claimed_by, last_heartbeat_at)"
        " VALUES (1, 1, 'claimed', 1, 'worker', now()), (1, 2, 'ready', 0, NULL, NULL)"
    )
    return story


def test_open_chunks_are_where_they_were_after_upgrading_and_after_going_back(old):
    before = old.rows("SELECT number, state, attempts, claimed_by FROM chunk ORDER BY number")
    migrate.upgrade(old.engine)
    assert ledger.take_unsent(old.engine, 1, 99) == [2]
    move(old.engine, command.downgrade, "0007")
    after = old.rows("SELECT number, state, attempts, claimed_by FROM chunk ORDER BY number")
    assert after == before


def test_a_chunk_that_waited_is_ready_after_going_back(old):
    migrate.upgrade(old.engine)
    host = obstacles.ObstacleKind.ARCHIVE_HOST
    assert ledger.postpone(old.engine, 1, 1, "worker", host, "https://a", [""])
    move(old.engine, command.downgrade, "0007")
    assert old.rows("SELECT state FROM chunk") == [("ready",), ("ready",)]


def test_a_chunk_knows_after_upgrading_which_archives_list_its_products(old):
    old.execute(
        "INSERT INTO product (product_id, rover, sequence, lines, line_samples, image_url, source)"
        " VALUES (:id, 'Spirit', 'P2600', 1024, 1024, 'https://a/1.img', 'https://a/')",
        id=PRODUCT,
    )
    old.execute("INSERT INTO run_product VALUES (1, :id, 2)", id=PRODUCT)
    migrate.upgrade(old.engine)
    assert old.rows("SELECT sources FROM chunk ORDER BY number") == [([],), (["https://a/"],)]


def test_upgrading_counts_no_transfers_for_earlier_work_and_going_back_forgets_obstacles(old):
    migrate.upgrade(old.engine)
    assert old.rows("SELECT DISTINCT fetched_bytes, retries FROM chunk") == [(0, 0)]
    assert old.rows("SELECT fetched_bytes, retries FROM run") == [(0, 0)]
    old.meet(1, obstacles.ObstacleKind.ARCHIVE_HOST, "x")
    move(old.engine, command.downgrade, "0007")
    assert old.rows("SELECT to_regclass('obstacle'), to_regclass('archive_connection')") == [
        (None, None)
    ]
    migrate.upgrade(old.engine)
    assert obstacles.current(old.engine) == []
