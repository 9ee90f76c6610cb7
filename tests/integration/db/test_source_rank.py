"""The rank of sources: an archive's products stay the archive's, whatever other places list."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from mernet.db import ledger
from mernet.db.errors import UnknownArchive
from mernet.db.ledger import ListedArchives, ListedFile, NewRun, NotListed
from mernet.db.ledger.giving_up import give_up
from mernet.db.ledger.merging import _lock_chunks
from mernet.db.ledger.open_chunks import lock_open_chunk
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


def results(story, run_id):
    return story.rows(
        "SELECT result, reason, detail FROM run_product WHERE run_id = :run_id", run_id=run_id
    )


def all_of(story, *tables):
    return [story.rows(f"SELECT * FROM {table} ORDER BY 1") for table in tables]


@pytest.fixture
def archived(story, product):
    """Two products that an archive lists, classified."""
    products = [at(product(clock), ARCHIVE) for clock in (1, 2)]
    run(story, products)
    return products


@pytest.fixture
def listed_only(story, product):
    """Two products that an archive lists, without an outcome."""
    products = [at(product(clock), ARCHIVE) for clock in (1, 2)]
    story.list_run(ledger.create_run(story.engine, NewRun(archives=("sample",))).run_id, products)
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
    own = at(product(1), FOLDER)
    first = ledger.create_run(story.engine, NewRun(archives=("sample",))).run_id
    story.list_run(first, [own])
    moved = moved_to(own, "file:///new/")
    run_id = list_moved(story, [moved])
    assert claimed_places(story, run_id) == [moved.image_url]
    assert claimed_places(story, first) == [moved.image_url]


def test_an_own_image_that_failed_is_read_where_another_folder_has_it(story, product):
    own = at(product(1), FOLDER)
    run_id = ledger.create_run(story.engine, NewRun(archives=("sample",))).run_id
    story.list_run(run_id, [own])
    story.claim(run_id, 1)
    failed = Failed(own.product_id, "truncated", "It ends too early.", is_lasting=True)
    assert story.settle(run_id, 1, [failed])
    whole = moved_to(own, "file:///new/")
    run(story, [whole], reclassify=True)
    assert [row[1] for row in published(story, "own_search")] == [whole.image_url]


def test_a_copy_of_an_own_image_that_is_being_classified_changes_nothing(story, product):
    own = at(product(1), FOLDER)
    run_id = ledger.create_run(story.engine, NewRun(archives=("sample",))).run_id
    story.list_run(run_id, [own])
    claimed = story.claim(run_id, 1)
    copies = run(story, [moved_to(own, "file:///copies/")])
    assert ledger.progress(story.engine, copies).known == 1
    assert story.settle(run_id, 1, [Classified(claimed.products[0].product_id, SCORES)])
    assert [row[1] for row in published(story, "own_search")] == [own.image_url]
    assert ledger.reconcile(story.engine, copies).ok


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


def claimed_places(story, run_id):
    return [each.image_url for each in story.claim(run_id, 1).products]


def test_what_another_archive_has_is_kept_by_a_run_that_reclassifies(story, archived):
    before = all_of(story, "product", "outcome", "outcome_history", "atlas_search")
    theirs = [at(each, OTHER) for each in archived]
    run_id = run(story, theirs, OTHER_SCORES, reclassify=True)
    assert all_of(story, "product", "outcome", "outcome_history", "atlas_search") == before
    assert results(story, run_id) == [("kept", "known from elsewhere", f"{ARCHIVE} lists it.")] * 2
    now = ledger.progress(story.engine, run_id)
    assert (now.kept, now.known, now.kept_failed) == (2, 2, 0)
    assert ledger.reconcile(story.engine, run_id).ok


def test_its_own_archive_in_the_same_run_reclassifies_what_another_one_lists(story, archived):
    theirs = [at(each, OTHER) for each in archived]
    new = NewRun(archives=("other", "sample"), reclassify=True)
    run_id = ledger.create_run(story.engine, new).run_id
    ledger.claim_listing(story.engine, run_id, "lister", 600, 3)
    later = NotListed(archives=("sample",))
    assert ledger.record_listing(story.engine, run_id, "lister", theirs, {}, later)
    story.list_run(run_id, archived)
    assert claimed_places(story, run_id) == [each.image_url for each in archived]
    assert story.publish(run_id, 1, OTHER_SCORES)
    assert [row[3] for row in published(story)] == [pytest.approx(0.99)] * 2


def run_over_other(story, archived):
    """List products, none of them classified yet, at another archive that is to classify them."""
    new = NewRun(archives=("sample",), reclassify=True)
    run_id = ledger.create_run(story.engine, new).run_id
    story.list_run(run_id, [at(each, OTHER) for each in archived])
    story.claim(run_id, 1)
    return run_id


def test_what_its_archive_published_in_the_meantime_is_kept(story, listed_only):
    run_id = run_over_other(story, listed_only)
    run(story, listed_only, reclassify=True)
    before = all_of(story, "product", "outcome", "outcome_history", "atlas_search")
    assert story.publish(run_id, 1, OTHER_SCORES)
    assert all_of(story, "product", "outcome", "outcome_history", "atlas_search") == before
    assert results(story, run_id) == [("kept", "known from elsewhere", f"{ARCHIVE} lists it.")] * 2
    assert ledger.progress(story.engine, run_id).known == 2
    assert ledger.reconcile(story.engine, run_id).ok


def test_a_failure_at_another_archive_is_not_retried_if_the_archive_has_a_result(
    story, listed_only
):
    run_id = run_over_other(story, listed_only)
    run(story, listed_only, reclassify=True)
    failed = [Failed(each.product_id, "transfer failed", "It did.") for each in listed_only]
    assert story.settle(run_id, 1, failed)
    assert ledger.create_retry(story.engine) is None


@pytest.mark.parametrize("is_lasting", [False, True])
def test_what_failed_at_its_archive_is_classified_at_another_one(story, listed_only, is_lasting):
    new = NewRun(archives=("sample",))
    run_id = ledger.create_run(story.engine, new).run_id
    story.list_run(run_id, listed_only)
    reason = "not found" if is_lasting else "transfer failed"
    failed = [Failed(each.product_id, reason, "It did.", is_lasting) for each in listed_only]
    assert story.settle(run_id, 1, failed)
    run(story, [at(each, OTHER) for each in listed_only], OTHER_SCORES, reclassify=True)
    assert [row[3] for row in published(story)] == [pytest.approx(0.99)] * 2


@pytest.mark.parametrize("is_retry", [False, True])
def test_a_product_is_read_where_its_run_listed_it(story, listed_only, is_retry):
    theirs = [at(each, OTHER) for each in listed_only]
    run_id = ledger.create_run(story.engine, NewRun(archives=("sample",))).run_id
    story.list_run(run_id, theirs)
    if is_retry:
        failed = [Failed(each.product_id, "transfer failed", "It did.") for each in theirs]
        assert story.settle(run_id, 1, failed)
        run_id = ledger.create_retry(story.engine).run_id
    assert claimed_places(story, run_id) == [each.image_url for each in theirs]
    assert story.publish(run_id, 1)
    assert [row[1] for row in published(story)] == [each.image_url for each in listed_only]


def test_what_another_archive_lacks_or_has_damaged_removes_no_result(story, listed_only):
    run_id = run_over_other(story, listed_only)
    run(story, listed_only, reclassify=True)
    before = all_of(story, "product", "outcome", "classification", "atlas_search")
    failed = [Failed(each.product_id, "not found", "So.", is_lasting=True) for each in listed_only]
    assert story.settle(run_id, 1, failed)
    assert all_of(story, "product", "outcome", "classification", "atlas_search") == before
    assert ledger.progress(story.engine, run_id).failures == {"not found": 2}
    assert ledger.reconcile(story.engine, run_id).ok


def moved_to(image, folder, file="1.img"):
    return replace(image, source=folder, image_url=f"{folder}{file}")


def list_moved(story, images, **options):
    """List images whose files are gone from where they were."""
    new = NewRun(archives=("sample",), chunk_size=100, **options)
    run_id = ledger.create_run(story.engine, new).run_id
    ledger.claim_listing(story.engine, run_id, "lister", 600, 3)
    moved = [each.product_id for each in images]
    assert ledger.record_listing(story.engine, run_id, "lister", images, {}, moved=moved)
    return run_id


def test_classified_images_of_a_moved_folder_are_where_it_is_now(story, product):
    own = at(product(1), FOLDER)
    run(story, [own])
    moved = moved_to(own, "file:///new/")
    run_id = list_moved(story, [moved])
    assert [row[1] for row in published(story, "own_search")] == [moved.image_url]
    assert ledger.progress(story.engine, run_id).kept == 1
    assert story.rows("SELECT image_url, cause FROM product_history") == [
        (own.image_url, "listed by file:///new/")
    ]
    again = list_moved(story, [moved], reclassify=True)
    assert claimed_places(story, again) == [moved.image_url]


@pytest.mark.parametrize("folder", ["file:///copies/", FOLDER])
@pytest.mark.parametrize("reclassify", [False, True])
def test_a_copy_of_a_classified_own_image_changes_nothing(story, product, folder, reclassify):
    own = at(product(1), FOLDER)
    run(story, [own])
    before = all_of(story, "product", "outcome", "own_search")
    new = NewRun(archives=("sample",), reclassify=reclassify)
    run_id = ledger.create_run(story.engine, new).run_id
    story.list_run(run_id, [moved_to(own, folder, "copy/1.img")])
    assert all_of(story, "product", "outcome", "own_search") == before
    if folder == FOLDER and reclassify:
        assert claimed_places(story, run_id) == [own.image_url]
    else:
        assert ledger.reconcile(story.engine, run_id).ok


def test_the_same_file_in_a_folder_above_is_no_copy(story, product):
    own = at(product(1), FOLDER)
    run(story, [own])
    again = run(story, [replace(own, source="file:///")], OTHER_SCORES, reclassify=True)
    assert ledger.progress(story.engine, again).classified == 1
    assert [row[1] for row in published(story, "own_search")] == [own.image_url]


def ingest(story, products, sources=(ARCHIVE,), **options):
    found = ListedArchives(tuple(sources), (), 1, {}, **options)
    return ledger.record_new(story.engine, NewRun(archives=("sample",)), products, found)


def test_a_product_that_one_archive_withdraws_and_another_lists_stays(story, archived):
    outcomes = story.rows("SELECT * FROM outcome ORDER BY 1")
    theirs = at(archived[1], OTHER)
    made = ingest(story, [archived[0], theirs], (ARCHIVE, OTHER))
    assert (made.withdrawn, made.run) == (0, None)
    assert [row[1] for row in published(story)] == [archived[0].image_url, theirs.image_url]
    assert story.rows("SELECT * FROM outcome ORDER BY 1") == outcomes


def test_a_version_listed_by_another_archive_does_not_keep_one_that_its_own_withdraws(
    story, archived, product
):
    made = ingest(story, [archived[1], at(product(1, "2"), OTHER)], (ARCHIVE, OTHER))
    assert made.withdrawn == 1
    assert story.rows("SELECT product_id FROM product WHERE withdrawn_at IS NOT NULL") == [
        (archived[0].product_id,)
    ]


def test_a_retry_over_two_versions_of_two_archives_reconciles(story, product):
    both = [at(product(1), ARCHIVE), at(product(1, "2"), OTHER)]
    for each in both:
        new = NewRun(archives=("sample",))
        run_id = ledger.create_run(story.engine, new).run_id
        story.list_run(run_id, [each])
        failed = Failed(each.product_id, "transfer failed", "It did.")
        assert story.settle(run_id, 1, [failed])
    retry = ledger.create_retry(story.engine).run_id
    assert story.publish(retry, 1)
    assert ledger.reconcile(story.engine, retry).ok


MIRROR = NewRun(archives=("opportunity",), mirror="/mirror")


def at_mirror(story, products):
    """List products at a mirror of the archive, once in a run and once in an ingest."""
    run_id = ledger.create_run(story.engine, MIRROR).run_id
    story.list_run(run_id, products)
    found = ListedArchives((), (), 1, {}, mirrored=(ARCHIVE,))
    ledger.record_new(story.engine, MIRROR, products, found)
    return run_id


def test_a_mirror_changes_no_place_and_is_read_where_it_lists_the_product(story, archived):
    before = all_of(story, "product", "product_history", "atlas_search")
    old = replace(archived[0], image_url=f"{ARCHIVE}old/1.img", sol=7)
    again = replace(MIRROR, reclassify=True)
    run_id = ledger.create_run(story.engine, again).run_id
    story.list_run(run_id, [old])
    at_mirror(story, [old])
    assert all_of(story, "product", "product_history", "atlas_search") == before
    assert claimed_places(story, run_id) == [old.image_url]


def test_a_mirror_brings_back_nothing_that_the_archive_withdrew(story, archived):
    ingest(story, archived[:1])
    before = all_of(story, "product", "product_history", "atlas_search")
    at_mirror(story, archived)
    assert all_of(story, "product", "product_history", "atlas_search") == before


def test_a_version_that_the_archive_withdrew_supersedes_nothing_at_a_mirror(
    story, archived, product
):
    newer = at(product(1, "2"), ARCHIVE)
    run(story, [newer, archived[1]])
    ingest(story, archived)
    at_mirror(story, [newer, archived[1]])
    assert [row[0] for row in published(story)] == [each.product_id for each in archived]
    assert story.rows("SELECT FROM product WHERE superseded") == []


def test_an_archive_is_read_again_after_a_mirror_that_lists_it_otherwise(story, archived):
    changed = replace(archived[0], image_url=f"{ARCHIVE}moved/1.img")
    files = (ListedFile(ARCHIVE, f"{ARCHIVE}index.tab", None, None, "c" * 64),)
    same = ListedArchives((), files, 1, {}, mirrored=(ARCHIVE,))
    ledger.record_new(story.engine, MIRROR, [changed, archived[1]], same)
    assert ledger.known_files(story.engine, "a" * 64, ARCHIVE, "edr") == []
    ledger.record_new(story.engine, MIRROR, archived, same)
    assert ledger.known_files(story.engine, "a" * 64, ARCHIVE, "edr") == list(files)


@pytest.mark.parametrize("only_part", [False, True])
def test_only_a_withdrawal_brings_a_superseded_version_back(story, archived, product, only_part):
    run(story, [at(product(1, "2"), ARCHIVE), archived[1]])
    if only_part:  # a search for what was harvested lately, or a table that ends too early
        found = ListedArchives((), (), 1, {})
        ledger.record_new(story.engine, NewRun(archives=("sample",)), archived, found)
    else:
        run(story, archived, accept_short_listing=True)
    assert story.rows("SELECT product_id FROM product WHERE superseded") == [
        (archived[0].product_id,)
    ]


def test_an_archive_that_takes_over_an_image_does_not_inherit_the_folders_mark(story, product):
    run(story, [at(product(1), FOLDER)])
    run(story, [at(product(1, "2"), FOLDER)])
    run(story, [at(product(1), ARCHIVE)])
    assert story.rows("SELECT superseded FROM product ORDER BY product_id") == [(False,), (False,)]


NEW_HOST = "https://moved.example/archive/"


def test_an_archive_that_has_moved_keeps_its_results_at_its_new_address(story, archived):
    outcomes = story.rows("SELECT * FROM outcome ORDER BY 1")
    run_id = run(story, archived)
    assert story.move_archive(ARCHIVE, NEW_HOST).products == 2
    rows = story.rows("SELECT source, image_url, browse_url FROM product ORDER BY 1")
    assert rows == [
        tuple(
            url.replace(ARCHIVE, NEW_HOST) for url in (each.source, each.image_url, each.browse_url)
        )
        for each in archived
    ]
    assert story.rows("SELECT * FROM outcome ORDER BY 1") == outcomes
    assert story.rows("SELECT DISTINCT source, cause FROM product_history") == [
        (ARCHIVE, f"moved to {NEW_HOST}")
    ]
    assert ledger.reconcile(story.engine, run_id).ok
    made = ingest(story, [at(archived[0], NEW_HOST)], (NEW_HOST,))
    assert (made.new, made.withdrawn) == (0, 1)


def test_an_open_run_goes_on_at_the_new_address(story, product):
    run_id = ledger.create_run(story.engine, NewRun(archives=("sample",))).run_id
    story.list_run(run_id, [at(product(1), ARCHIVE)])
    other = ledger.create_run(story.engine, NewRun(archives=("sample",), reclassify=True)).run_id
    story.list_run(other, [at(product(1), OTHER)])
    story.move_archive(ARCHIVE, NEW_HOST)
    assert claimed_places(story, run_id) == [at(product(1), NEW_HOST).image_url]
    assert story.rows("SELECT sources FROM chunk ORDER BY run_id") == [([NEW_HOST],), ([OTHER],)]
    assert claimed_places(story, other) == [at(product(1), OTHER).image_url]


def test_an_address_of_no_archive_is_refused_with_those_that_there_are(story, archived):
    with pytest.raises(UnknownArchive, match=ARCHIVE):
        story.move_archive("https://example.com/", NEW_HOST)


def test_chunks_that_are_made_while_a_takeover_waits_for_their_locks_are_locked_too(story, product):
    own = ledger.create_run(story.engine, NewRun(archives=("sample",))).run_id
    story.list_run(own, [at(product(clock), FOLDER) for clock in (1, 2)])
    key = {"product_ids": [product(1).product_id]}
    with story.engine.connect() as taking, ThreadPoolExecutor(1) as thread:
        with story.engine.begin() as splitting:
            give_up(splitting, lock_open_chunk(splitting, own, 1))
            waiting = thread.submit(_lock_chunks, taking, key)
            while story.rows("SELECT count(*) FROM pg_locks WHERE NOT granted") == [(0,)]:
                assert not waiting.done()
        waiting.result()
        free = "SELECT number FROM chunk WHERE state = 'ready' FOR UPDATE SKIP LOCKED"
        assert story.rows(free) == [(3,)]
