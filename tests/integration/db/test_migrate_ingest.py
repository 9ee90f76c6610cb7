"""From every earlier version of the tables to this one with rows in them, and back again."""

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from fixtures.ledger import Story, make_product, move
from mernet.db import ledger, migrate
from mernet.db.ledger import ListedArchives, NewRun
from mernet.db.tables import METADATA

NAME = "1P000000001EFF0000P2600L2M1"
HELD = (
    "INSERT INTO classifier (sha256, name, path, threshold, header, is_current)"
    " VALUES (repeat('a', 64), 'first', '/models/first', 0.9, '{}', true)",
    "INSERT INTO product (product_id, rover, sequence, lines, line_samples, image_url)"
    f" VALUES ('{NAME}', 'Opportunity', 'P2600', 1024, 1024, 'https://example.org/1.img')",
    "INSERT INTO run"
    " (kind, state, classifier, archives, products, chunk_size, {reclassify}, finished_at)"
    " VALUES ('full', 'finished', repeat('a', 64), '{sample}', 'edr', 32, false, now())",
    f"INSERT INTO run_product (run_id, product_id{{result}}) VALUES (1, '{NAME}'{{kept}})",
    "INSERT INTO outcome (product_id, classifier, run_id, state, scores, attempts) VALUES"
    f" ('{NAME}', repeat('a', 64), 1, 'classified',"
    " ARRAY[0.95::real] || array_fill(0.1::real, ARRAY[24]), 1)",
    "INSERT INTO classification (product_id, classifier, class, probability)"
    f" VALUES ('{NAME}', repeat('a', 64), 'rod', 0.95)",
)

RESULT = (", result, recorded_at", ", 'kept', now()")


@pytest.fixture
def at(empty_engine):
    """A database of an earlier version that holds a run, its product and its outcome."""

    def at(revision):
        move(empty_engine, command.upgrade, revision)
        story = Story(empty_engine)
        renamed = "again" if revision < "0006" else "reclassify"
        result, kept = ("", "") if revision < "0007" else RESULT
        for statement in HELD:
            for place, text in (("reclassify", renamed), ("result", result), ("kept", kept)):
                statement = statement.replace(f"{{{place}}}", text)
            story.execute(statement)
        return story

    return at


@pytest.mark.parametrize("revision", migrate.KNOWN_VERSIONS)
def test_a_database_of_every_version_becomes_current_and_keeps_what_it_holds(at, revision):
    story = at(revision)
    migrate.upgrade(story.engine)
    migrate.check_current(story.engine)
    assert story.rows("SELECT product_id, class FROM atlas_search") == [(NAME, "rod")]
    assert ledger.reconcile(story.engine, 1).ok
    with story.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_a_product_of_an_earlier_version_gets_the_archive_that_lists_it_as_source(at):
    story = at("0001")
    migrate.upgrade(story.engine)
    found = ListedArchives(("https://example.org/",), (), rows_read=1, left_out={})
    wanted = NewRun(archives=("https://example.org/",))
    listed = make_product(1, source="https://example.org/")
    assert ledger.record_new(story.engine, wanted, [listed], found).run is None
    assert ledger.record_new(story.engine, wanted, [], found).withdrawn == 1
    assert story.rows("SELECT * FROM atlas_search") == []


def test_going_back_shows_withdrawn_products_and_keeps_runs_of_what_was_new(at):
    story = at("0001")
    migrate.upgrade(story.engine)
    found = ListedArchives(("https://example.org/",), (), rows_read=1, left_out={})
    wanted = NewRun(archives=("https://example.org/",))
    ledger.record_new(story.engine, wanted, [make_product(2)], found)
    story.execute("UPDATE product SET withdrawn_at = now()")
    move(story.engine, command.downgrade, "0001")
    assert story.rows("SELECT product_id FROM atlas_search") == [(NAME,)]
    assert story.rows("SELECT kind FROM run ORDER BY run_id") == [("full",), ("full",)]
    migrate.upgrade(story.engine)
    migrate.check_current(story.engine)
