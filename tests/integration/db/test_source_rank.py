"""The rank of sources: an archive's products stay the archive's, whatever other places list."""

from dataclasses import replace

import pytest

from mernet.db import ledger
from mernet.db.ledger import ListedArchives, NewRun
from mernet.db.publish import Classified, Failed

ARCHIVE, OTHER, FOLDER = "https://example.org/", "https://other.example/", "file:///mine/"
SCORES, OTHER_SCORES = (0.95, *[0.1] * 24), (0.99, *[0.1] * 24)


def at(product, source):
    """The product as this source lists it."""
    collection = "own" if source == FOLDER else "archive"
    browse_url = None if source == FOLDER else f"{source}browse/{product.product_id}.jpg"
    return replace(
        product, source=source, collection=collection, browse_url=browse_url,
        image_url=f"{source}{product.product_id.lower()}.img",
    )  # fmt: skip


def run(story, products, scores=SCORES, **options):
    """List products in a run and classify those that it is to classify."""
    new = NewRun(archives=("sample",), chunk_size=100, **options)
    run_id = ledger.create_run(story.engine, new).run_id
    story.list_run(run_id, products, {})
    if story.rows("SELECT FROM chunk WHERE run_id = :run_id", run_id=run_id):
        assert story.publish(run_id, 1, scores)
    return run_id


def published(story, view="atlas_search"):
    return story.rows(
        f"SELECT product_id, image_url, browse_url, confidence FROM {view} ORDER BY 1"
    )


def all_of(story, *tables):
    return [story.rows(f"SELECT * FROM {table} ORDER BY 1") for table in tables]


@pytest.fixture
def archived(story, product):
    """Two products that an archive lists, classified."""
    products = [at(product(clock), ARCHIVE) for clock in (1, 2)]
    run(story, products)
    return products


@pytest.mark.parametrize("reclassify", [False, True])
@pytest.mark.parametrize("publish_own", [False, True])
def test_copies_in_a_folder_change_nothing(story, archived, reclassify, publish_own):
    before = all_of(story, "product", "outcome", "classification", "atlas_search")
    copies = [at(each, FOLDER) for each in archived]
    run_id = run(story, copies, reclassify=reclassify, publish_own=publish_own)
    assert all_of(story, "product", "outcome", "classification", "atlas_search") == before
    now = ledger.progress(story.engine, run_id)
    assert (now.listed, now.kept, now.known, now.kept_failed) == (2, 2, 2, 0)
    assert ledger.reconcile(story.engine, run_id).ok


def test_a_copy_of_a_product_that_awaits_its_classification_is_left_to_the_archive(story, product):
    story.list_run(
        ledger.create_run(story.engine, NewRun(archives=("sample",))).run_id,
        [at(product(1), ARCHIVE)],
    )
    run_id = run(story, [at(product(1), FOLDER)])
    assert ledger.progress(story.engine, run_id).known == 1
    assert story.rows("SELECT * FROM outcome") == []


def test_another_archive_does_not_change_where_a_product_is_but_the_same_one_does(story, product):
    run(story, [at(product(1), ARCHIVE)])
    run(story, [at(product(1), OTHER)], reclassify=True)
    assert [row[1] for row in published(story)] == [at(product(1), ARCHIVE).image_url]
    moved = replace(at(product(1), ARCHIVE), image_url=f"{ARCHIVE}moved.img")
    run(story, [moved])
    assert [row[1] for row in published(story)] == [moved.image_url]


def test_another_archive_takes_a_product_that_was_withdrawn(story, archived):
    found = ListedArchives((ARCHIVE,), (), rows_read=1, left_out={})
    ledger.record_new(story.engine, NewRun(archives=("sample",)), archived[:1], found)
    run(story, [at(archived[1], FOLDER)])
    assert len(published(story)) == 1
    run(story, [at(archived[1], OTHER)])
    assert published(story)[1][1] == at(archived[1], OTHER).image_url


def test_an_image_in_a_folder_under_a_higher_version_does_not_hide_the_archives(
    story, archived, product
):
    before = published(story)
    run(story, [at(product(1, "2"), FOLDER)], OTHER_SCORES, publish_own=True)
    assert published(story) == before
    assert [row[0] for row in published(story, "own_search")] == [product(1, "2").product_id]


def test_own_images_are_found_as_such_and_in_the_atlas_only_if_published(story, product):
    own = at(product(3), FOLDER)
    run(story, [own])
    assert published(story) == []
    assert [row[1] for row in published(story, "own_search")] == [own.image_url]
    run(story, [own], publish_own=True)
    run(story, [own])
    assert [row[1] for row in published(story)] == [own.image_url]


def test_an_archive_takes_over_a_folders_image_and_its_outcome_goes_to_the_history(story, product):
    own, archived = at(product(1), FOLDER), at(product(1), ARCHIVE)
    first = run(story, [own], OTHER_SCORES)
    second = run(story, [archived])
    assert [row[1:] for row in published(story)] == [
        (archived.image_url, archived.browse_url, pytest.approx(0.95))
    ]
    assert story.rows(
        "SELECT run_id, replaced_by, scores[1], cause FROM outcome_history"
    ) == [
        (
            first, second, pytest.approx(0.99),
            f"listed by {ARCHIVE}; this outcome was made from {own.image_url}",
        )
    ]  # fmt: skip
    for run_id in (first, second):
        assert ledger.reconcile(story.engine, run_id).ok


def test_images_of_a_moved_folder_that_are_not_classified_are_read_at_the_new_place(story, product):
    moved = replace(at(product(1), FOLDER), source="file:///new/", image_url="file:///new/1.img")
    story.list_run(
        ledger.create_run(story.engine, NewRun(archives=("sample",))).run_id,
        [at(product(1), FOLDER)],
    )
    run_id = ledger.create_run(story.engine, NewRun(archives=("sample",))).run_id
    story.list_run(run_id, [moved])
    assert [each.image_url for each in story.claim(run_id, 1).products] == [moved.image_url]


def test_an_ingest_that_takes_over_names_its_run_in_the_history(story, product):
    run(story, [at(product(1), FOLDER)])
    found = ListedArchives((ARCHIVE,), (), rows_read=1, left_out={})
    wanted = NewRun(archives=("sample",))
    made = ledger.record_new(story.engine, wanted, [at(product(1), ARCHIVE)], found)
    assert made.new == 1
    assert story.rows("SELECT replaced_by FROM outcome_history") == [(made.run.run_id,)]


def test_an_ingest_classifies_what_it_takes_over_from_an_open_run(story, product):
    own = ledger.create_run(story.engine, NewRun(archives=("sample",))).run_id
    story.list_run(own, [at(product(1), FOLDER)])
    ledger.pause_run(story.engine, own)
    found = ListedArchives((ARCHIVE,), (), rows_read=1, left_out={})
    wanted = NewRun(archives=("sample",))
    made = ledger.record_new(story.engine, wanted, [at(product(1), ARCHIVE)], found)
    assert made.new == 1
    assert story.publish(made.run.run_id, 1)
    assert [row[1] for row in published(story)] == [at(product(1), ARCHIVE).image_url]


def test_an_outcome_that_is_being_made_from_a_folders_file_is_not_published_as_the_archives(
    story, product
):
    new = NewRun(archives=("sample",), chunk_size=2)
    own = ledger.create_run(story.engine, new).run_id
    story.list_run(own, [at(product(clock), FOLDER) for clock in (1, 2)], {})
    claimed = story.claim(own, 1)
    run(story, [at(product(1), ARCHIVE)])
    outcomes = [Classified(each.product_id, OTHER_SCORES) for each in claimed.products]
    assert story.settle(own, 1, outcomes)
    assert story.rows("SELECT product_id, scores[1] FROM outcome ORDER BY 1") == [
        (product(1).product_id, pytest.approx(0.95)),
        (product(2).product_id, pytest.approx(0.99)),
    ]
    now = ledger.progress(story.engine, own)
    assert (now.run.state, now.known, now.classified) == ("finished", 1, 1)


def test_a_run_all_of_whose_images_an_archive_takes_over_ends(story, product):
    own = ledger.create_run(story.engine, NewRun(archives=("sample",))).run_id
    story.list_run(own, [at(product(1), FOLDER)], {})
    run(story, [at(product(1), ARCHIVE)])
    assert story.claim(own, 1) is None
    assert ledger.reconcile(story.engine, own).ok


def test_a_chunk_that_an_archive_emptied_after_its_last_attempt_is_closed(story, product):
    own = ledger.create_run(story.engine, NewRun(archives=("sample",))).run_id
    story.list_run(own, [at(product(1), FOLDER)])
    story.execute("UPDATE chunk SET attempts = 3")
    run(story, [at(product(1), ARCHIVE)])
    assert story.claim(own, 1) is None
    assert ledger.reconcile(story.engine, own).ok


def test_a_newer_version_that_fails_does_not_hide_the_one_before(story, archived, product):
    before = published(story)
    new = NewRun(archives=("sample",))
    run_id = ledger.create_run(story.engine, new).run_id
    newer = at(product(1, "2"), ARCHIVE)
    story.list_run(run_id, [newer], {})
    story.claim(run_id, 1)
    failed = Failed(newer.product_id, "transfer failed", "It was answered with 503.")
    assert story.settle(run_id, 1, [failed])
    assert published(story) == before
    story.publish(ledger.create_retry(story.engine).run_id, 1)
    assert [row[0] for row in published(story)] == [newer.product_id, archived[1].product_id]


def test_a_higher_version_of_another_archive_does_not_hide_the_one_that_is_there(
    story, archived, product
):
    before = published(story)
    run(story, [at(product(1, "2"), OTHER)])
    assert published(story) == before
    run(story, [at(product(1, "2"), ARCHIVE)])  # now the archive itself lists the higher version
    assert published(story)[0][0] == product(1, "2").product_id


def test_a_version_that_was_superseded_returns_if_the_higher_one_is_withdrawn(
    story, archived, product
):
    run(story, [at(product(1, "2"), ARCHIVE), archived[1]])
    found = ListedArchives((ARCHIVE,), (), rows_read=1, left_out={})
    wanted = NewRun(archives=("sample",))
    ledger.record_new(story.engine, wanted, archived, found)
    assert [row[0] for row in published(story)] == [each.product_id for each in archived]
    assert story.rows("SELECT FROM product WHERE superseded") == []
