"""What a chunk has read where a product is not any more replaces nothing and is read again."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from mernet.db import ledger
from mernet.db.errors import ReadElsewhere
from mernet.db.ledger import NewRun, publish_chunk
from mernet.db.publish import Classified, Failed

ARCHIVE, OTHER, NEW = "https://example.org/", "https://other.example/", "https://new.example/"
SCORES, OTHER_SCORES = (0.95, *[0.1] * 24), (0.99, *[0.1] * 24)


@pytest.fixture
def image(product):
    return product(1, source=ARCHIVE)


@pytest.fixture
def run_id(story, image):
    """A run that reclassifies a product; its chunk is claimed."""
    story.classified([image], SCORES)
    run_id = story.listed_products([image], reclassify=True)
    story.claim(run_id, 1)
    return run_id


def lasting(image):
    return Failed(image.product_id, "not found", "It is gone.", is_lasting=True)


def scored(image):
    return Classified(image.product_id, SCORES)


def publish(story, run_id, outcome):
    """Publish what was read when the chunk was claimed."""
    return publish_chunk(story.engine, story.claimed[run_id, 1], "worker", [outcome])


def results(story):
    return story.rows("SELECT run_id, state, scores, reason FROM outcome")


def list_otherwise(**changes):
    return lambda story, image: story.listed_products([replace(image, **changes)])


def move_archive(story, image):
    story.move_archive(ARCHIVE, NEW)


def take_over(story, image):
    story.execute("UPDATE product SET withdrawn_at = now()")
    story.listed_products([replace(image, source=OTHER, image_url=f"{OTHER}1.img")])


CHANGES = {
    "image": list_otherwise(image_url=f"{ARCHIVE}second/1.img"),
    "label": list_otherwise(label_url=f"{ARCHIVE}1.lbl"),
    "lines": list_otherwise(lines=512),
    "samples": list_otherwise(line_samples=512),
    "archive moved": move_archive,
    "taken over": take_over,
}


@pytest.mark.parametrize("make_outcome", [lasting, scored])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_was_read_before_a_product_was_listed_otherwise_is_read_again(
    story, image, run_id, change, make_outcome
):
    before = results(story)
    change(story, image)
    with pytest.raises(ReadElsewhere, match=image.product_id):
        publish(story, run_id, make_outcome(image))
    assert results(story) == before
    assert story.rows("SELECT result FROM run_product WHERE run_id = :id", id=run_id) == [(None,)]
    assert ledger.release(story.engine, run_id, 1, "worker", counted=False)
    assert story.publish(run_id, 1, OTHER_SCORES)
    assert story.rows("SELECT run_id, scores[1], attempts FROM outcome") == [
        (run_id, pytest.approx(0.99), 1)
    ]
    assert ledger.reconcile(story.engine, run_id).ok


def test_scores_of_the_archive_that_took_a_product_over_are_not_replaced(story, image, run_id):
    take_over(story, image)
    again = story.listed_products(
        [replace(image, source=OTHER, image_url=f"{OTHER}1.img")], reclassify=True
    )
    assert story.publish(again, 1, OTHER_SCORES)
    before = results(story)
    with pytest.raises(ReadElsewhere, match=f"{OTHER}1.img"):
        publish(story, run_id, Classified(image.product_id, SCORES))
    assert results(story) == before


def test_an_own_image_whose_folder_has_moved_is_read_there(story, product):
    own = product(
        1, source="file:///a/", image_url="file:///a/1.img", collection="own", browse_url=None
    )
    story.classified([own], SCORES)
    run_id = story.listed_products([own], reclassify=True)
    story.claim(run_id, 1)
    before = results(story)
    moved = replace(own, source="file:///b/", image_url="file:///b/1.img")
    lists = ledger.create_run(story.engine, NewRun(archives=("sample",))).run_id
    ledger.claim_listing(story.engine, lists, "lister", 600, 3)
    assert ledger.record_listing(story.engine, lists, "lister", [moved], {}, moved=[own.product_id])
    with pytest.raises(ReadElsewhere, match=r"file:///b/1\.img"):
        publish(story, run_id, lasting(own))
    assert results(story) == before


def test_what_was_read_at_a_mirror_that_has_moved_is_read_again(story, image):
    new = NewRun(archives=("sample",), mirror="https://mirror.example/")
    run_id = ledger.create_run(story.engine, new).run_id
    story.list_run(run_id, [image])
    story.claim(run_id, 1)
    story.move_archive("https://mirror.example/", NEW)
    with pytest.raises(ReadElsewhere, match=NEW):
        publish(story, run_id, lasting(image))
    assert results(story) == []


def test_a_place_that_changes_while_outcomes_are_written_is_seen(story, image, run_id):
    before = results(story)
    with ThreadPoolExecutor(1) as pool:
        with story.engine.begin() as another:
            another.exec_driver_sql("SELECT FROM outcome FOR UPDATE")
            publishing = pool.submit(publish, story, run_id, lasting(image))
            while not story.rows("SELECT FROM pg_locks WHERE NOT granted"):
                assert not publishing.done()
            take_over(story, image)
        with pytest.raises(ReadElsewhere):
            publishing.result()
    assert results(story) == before


def withdraw(story, image):
    story.execute("UPDATE product SET withdrawn_at = now()")


def supersede(story, image):
    newer = image.product_id[:-1] + "2"
    story.listed_products([replace(image, product_id=newer, image_url=f"{ARCHIVE}2.img")])


@pytest.mark.parametrize("change", [withdraw, supersede])
def test_a_file_that_its_archive_lists_no_more_removes_no_outcome_by_being_gone(
    story, image, run_id, change
):
    before = results(story)
    change(story, image)
    assert publish(story, run_id, lasting(image))
    assert results(story) == before
    assert ledger.progress(story.engine, run_id).failures == {"not found": 1}
    assert ledger.reconcile(story.engine, run_id).ok


@pytest.mark.parametrize(
    "change", [list_otherwise(sol=7), list_otherwise(browse_url=f"{ARCHIVE}browse/1.jpg")]
)
def test_what_was_read_is_published_if_only_facts_about_it_changed(story, image, run_id, change):
    change(story, image)
    assert publish(story, run_id, Classified(image.product_id, OTHER_SCORES))
    assert story.rows("SELECT run_id FROM outcome") == [(run_id,)]
