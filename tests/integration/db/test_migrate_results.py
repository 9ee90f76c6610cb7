"""To results that stay and back, with rows in the tables."""

import pytest
from alembic import command

from fixtures.ledger import make_product, move
from mernet.db import ledger, migrate
from mernet.db.ledger import FailedProduct, NewRun

BEFORE = "0006"
GOOD, BAD, OWN, MIRRORED = (make_product(clock).product_id for clock in (1, 2, 3, 4))
PRODUCT = (
    "INSERT INTO product (product_id, rover, sequence, lines, line_samples, image_url, browse_url,"
    " source) VALUES (:name, 'Opportunity', 'P2600', 1024, 1024, 'file:///x.img', :browse, :source)"
)
OUTCOMES = (
    "INSERT INTO outcome (product_id, classifier, run_id, state, scores, attempts)"
    " SELECT product_id, repeat('a', 64), 1, 'classified',"
    " ARRAY[0.95::real] || array_fill(0.1::real, ARRAY[24]), 1"
    " FROM product WHERE product_id <> :bad",
    "INSERT INTO outcome (product_id, classifier, run_id, state, reason, detail, attempts)"
    " VALUES (:bad, repeat('a', 64), 1, 'failed', 'not found', 'It is gone.', 1)",
    "INSERT INTO classification (product_id, classifier, class, probability)"
    " SELECT product_id, classifier, 'rod', 0.95 FROM outcome WHERE product_id <> :bad",
)


@pytest.fixture
def old(make_old_tables):
    """A finished run over four products, one of which failed, and a run that kept all of them."""
    story = make_old_tables(BEFORE)
    for name, source, browse in (
        (GOOD, "https://example.org/", "https://example.org/1.jpg"),
        (BAD, "https://example.org/", "https://example.org/2.jpg"),
        (OWN, "file:///mine/", None),
        (MIRRORED, "file:///copy/mer1po_0xxx/", "file:///copy/4.jpg"),
    ):
        story.execute(PRODUCT, name=name, source=source, browse=browse)
    story.execute(
        "INSERT INTO run (kind, state, classifier, archives, mirror, products, chunk_size,"
        " reclassify, finished_at) SELECT 'full', 'finished', repeat('a', 64), '{sample}', '/copy',"
        " 'edr', 32, false, now() FROM generate_series(1, 2)"
    )
    story.execute(
        "INSERT INTO chunk (run_id, number, state, closed_at) VALUES (1, 1, 'done', now())"
    )
    story.execute("INSERT INTO run_product SELECT 1, product_id, 1 FROM product")
    story.execute("INSERT INTO run_product SELECT 2, product_id FROM product")
    for statement in OUTCOMES:
        story.execute(statement, **({"bad": BAD} if ":bad" in statement else {}))
    migrate.upgrade(story.engine)
    return story


def published(story):
    return [name for (name,) in story.rows("SELECT product_id FROM atlas_search ORDER BY 1")]


def test_all_that_was_published_stays_so_and_going_back_changes_nothing(old):
    assert published(old) == [GOOD, OWN, MIRRORED]
    move(old.engine, command.downgrade, BEFORE)
    assert published(old) == [GOOD, OWN, MIRRORED]
    migrate.upgrade(old.engine)
    assert published(old) == [GOOD, OWN, MIRRORED]


def test_earlier_runs_have_a_record_of_what_they_did(old):
    first, second = (ledger.progress(old.engine, run_id) for run_id in (1, 2))
    assert (first.classified, first.failed, first.failures) == (3, 1, {"not found": 1})
    assert (second.kept, second.kept_failed) == (4, 1)
    for run_id in (1, 2):
        assert ledger.reconcile(old.engine, run_id).ok
        failed = FailedProduct(BAD, "not found", "It is gone.")
        assert ledger.failed_products(old.engine, run_id) == [failed]


def test_a_folders_images_become_a_collection_of_their_own(old):
    rows = old.rows("SELECT product_id FROM product WHERE collection = 'own'")
    assert rows == [(OWN,)]


def test_products_listed_through_a_mirror_get_the_archives_own_urls(old):
    run_id = ledger.create_run(old.engine, NewRun(archives=("opportunity",))).run_id
    listed = make_product(4, source="https://example.org/", image_url="https://example.org/4.img")
    old.list_run(run_id, [listed])
    rows = old.rows("SELECT image_url FROM atlas_search WHERE product_id = :name", name=MIRRORED)
    assert rows == [(listed.image_url,)]
    assert old.rows("SELECT * FROM outcome_history") == []
