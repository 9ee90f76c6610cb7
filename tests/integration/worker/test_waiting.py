"""Work waits for an archive host that is down, or for a checkpoint, and fails no product for it."""

import random
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest

from mernet.db import ledger, obstacles
from mernet.db.ledger import NewRun
from mernet.db.obstacles import Patience
from mernet.model.errors import ScoresError
from mernet.pds.errors import (
    DecodeError,
    FetchError,
    ForbiddenError,
    NotAFileError,
    NotFoundError,
    SlowTransferError,
    TransferError,
    TruncatedError,
)
from mernet.pds.fetch import Transfers
from mernet.pds.image import Frame
from mernet.worker.archive_hosts import HostRules, host_of
from mernet.worker.connections import leased_connections
from mernet.worker.errors import CheckpointUnusable
from mernet.worker.listing import LISTING_ATTEMPTS, record_products
from mernet.worker.pipeline import MACHINE_PAUSE, Pipeline
from mernet.worker.task_result import STOPPED

HOST = "https://example.org"
GOOD = b"PDS_VERSION_ID = PDS3\0"
DOWN = TransferError("it was answered with 503")
HOST_FAULTS = [
    DOWN,
    TransferError("connection refused"),
    SlowTransferError("it sends too slowly"),
    ForbiddenError("it was refused (403)"),
    FetchError("it redirects to https://maintenance.example.org/, another host"),
    FetchError("it was answered with 408 instead of 200"),
    b"",
    b"Service temporarily unavailable",
    b'{"error": "login required"}',
]


class Archive:
    """Files by URL: bytes, or an error; what is not set is a good product."""

    transfers = Transfers()

    def __init__(self):
        self.files = {}
        self.everything = None
        self.asked = []

    def fetch(self, url):
        self.asked.append(url)
        found = self.files.get(url, GOOD) if self.everything is None else self.everything
        if callable(found):
            found = found()
        if isinstance(found, Exception):
            raise found
        return found

    fetch_once = fetch

    def reconnect(self):
        """There are no connections."""


class Classifier:
    batch_size = 8
    fails = staticmethod(lambda: None)

    def probabilities(self, renderings):
        self.fails()
        return np.full((len(renderings), 25), 0.5, np.float32)


@pytest.fixture
def archive():
    return Archive()


@pytest.fixture
def classifier():
    return Classifier()


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def pipeline(story, archive, classifier, monkeypatch, pauses):
    def decode(data, name, label=None):
        if data.endswith(b"damaged"):
            raise DecodeError(f"{name} is damaged")
        if data.endswith(b"cut"):
            raise TruncatedError(f"{name} has 3 bytes but its label says 5; fetch it again")
        pixels = np.arange(1024 * 1024, dtype=np.uint32).reshape(1024, 1024)
        return Frame(pixels, None, 0.25)

    monkeypatch.setattr("mernet.worker.product_images.decode", decode)
    return Pipeline(
        story.engine,
        archive,
        lambda sha256: classifier,
        threads=2,
        lease_seconds=600,
        max_attempts=3,
        pause=pauses.append,
    )


def url(clock):
    return f"{HOST}/{clock}.img"


def outcomes(story):
    sql = "SELECT right(left(product_id, 11), 1)::int, state, reason, is_lasting FROM outcome"
    return story.rows(f"{sql} ORDER BY 1")


WAITING = """
SELECT state, attempts, EXISTS (
    SELECT FROM run_obstacle JOIN obstacle USING (kind, subject)
    WHERE run_id = chunk.run_id AND run_obstacle.sources && chunk.sources AND cleared_at IS NULL
) FROM chunk ORDER BY run_id, number
"""


def chunks(story):
    return story.rows(WAITING)


def now_due(story):
    story.execute("UPDATE obstacle SET next_try_at = now()")


@pytest.mark.parametrize("fault", HOST_FAULTS)
def test_a_host_that_is_down_makes_all_its_chunks_wait_uncounted_and_then_go_on(
    story, pipeline, archive, fault
):
    run_id = story.listed(count=8)
    archive.everything = fault
    assert "waits" in pipeline.work_on(run_id, 1, "worker").summary
    assert "nothing to do" in pipeline.work_on(run_id, 2, "worker").summary
    assert chunks(story) == [("ready", 0, True)] * 2
    [found] = obstacles.current(story.engine)
    assert (found.subject, found.run_ids) == (HOST, (run_id,))
    archive.everything = None
    now_due(story)
    for number in (1, 2):
        assert pipeline.work_on(run_id, number, "worker").summary == "4 classified"
    assert obstacles.current(story.engine) == []
    assert {row[1] for row in outcomes(story)} == {"classified"}


@pytest.mark.parametrize("fault", HOST_FAULTS)
def test_a_host_that_gives_its_index_but_no_image_makes_its_chunks_wait(
    story, pipeline, archive, product, fault
):
    products = [product(clock, source=f"{HOST}/volume/") for clock in range(1, 9)]
    run_id = story.listed_products(products)
    archive.files = {each.image_url: fault for each in products}
    assert "waits" in pipeline.work_on(run_id, 1, "worker").summary
    assert chunks(story) == [("ready", 0, True)] * 2
    archive.files = {}
    now_due(story)
    assert pipeline.work_on(run_id, 1, "worker").summary == "4 classified"


def test_chunks_of_another_host_go_on_while_one_is_down(story, pipeline, archive, product):
    down = [product(clock, source=f"{HOST}/volume/") for clock in range(1, 5)]
    up = [
        product(clock, image_url=f"https://up.org/{clock}.img", source="https://up.org/")
        for clock in range(5, 9)
    ]
    run_id = story.listed_products([*down, *up])
    archive.files = {each.image_url: DOWN for each in down}
    pipeline.work_on(run_id, 1, "worker")
    assert ledger.take_unsent(story.engine, run_id, 99) == [2]
    assert pipeline.work_on(run_id, 2, "worker").summary == "4 classified"
    assert chunks(story) == [("ready", 0, True), ("done", 1, False)]


@pytest.mark.parametrize("part", ["image_url", "label_url"])
def test_a_host_of_an_archive_on_two_hosts_is_waited_for_while_the_other_answers(
    story, pipeline, archive, product, part
):
    there = [replace(product(clock), source=f"{HOST}/search/") for clock in range(1, 7)]
    down = {f"https://down.example/{clock}": TransferError("refused") for clock in (4, 5, 6)}
    archive.files |= down
    there[3:] = [
        replace(each, **{part: place}) for each, place in zip(there[3:], down, strict=True)
    ]
    run_id = story.listed_products(there, chunk_size=3)
    for number in (1, 2):
        pipeline.work_on(run_id, number, f"worker {number}")
    assert [clock for clock, *_ in outcomes(story)] == [1, 2, 3]
    assert story.rows("SELECT subject FROM obstacle") == [("https://down.example",)]
    archive.files = {url: fault for url, fault in archive.files.items() if url not in down}
    now_due(story)
    pipeline.work_on(run_id, 2, "worker 2")
    assert [state for _, state, *_ in outcomes(story)] == ["classified"] * 6
    assert story.rows("SELECT state FROM run") == [("finished",)]


def test_a_host_that_is_known_to_be_down_is_not_asked_before_the_next_try(story, pipeline, archive):
    run_id = story.listed(count=8)
    archive.everything = DOWN
    pipeline.work_on(run_id, 1, "worker")
    archive.asked.clear()
    pipeline.work_on(run_id, 2, "another")
    assert archive.asked == []


LONG_NAME = "".join(chr(letter) for letter in random.Random(1).sample(range(0x4E00, 0x9000), 1500))


@pytest.mark.parametrize("name", [LONG_NAME, "a..b", "*.example.org"], ids=len)
def test_nothing_waits_for_a_host_that_cannot_exist(story, pipeline, archive, product, name):
    archive.everything = FetchError(f"{name} cannot be asked for; check the URL")
    run_id = story.listed_products([replace(product(4), image_url=f"https://{name}/4.img")])
    assert (
        pipeline.work_on(run_id, 1, "worker").summary == "0 classified, 1 failed (transfer failed)"
    )
    assert obstacles.current(story.engine) == []
    assert ledger.get_run(story.engine, run_id).state == "finished"


def test_when_the_host_answers_what_waited_is_due_at_once(story, pipeline, archive):
    run_id = story.listed(count=8)
    archive.everything = DOWN
    pipeline.work_on(run_id, 1, "worker")
    archive.everything = None
    now_due(story)
    pipeline.work_on(run_id, 1, "worker")
    assert ledger.take_unsent(story.engine, run_id, 99) == [2]
    assert pipeline.work_on(run_id, 2, "worker").summary == "4 classified"


@pytest.mark.parametrize("fault", HOST_FAULTS)
def test_one_product_that_never_arrives_fails_in_passing_while_its_host_answers(
    story, pipeline, archive, fault
):
    run_id = story.listed(count=4)
    archive.files[url(3)] = fault
    pipeline.work_on(run_id, 1, "worker")
    reason = fault.reason if isinstance(fault, Exception) else "transfer failed"
    assert outcomes(story)[2] == (3, "failed", reason, False)
    assert [row[1] for row in outcomes(story)].count("classified") == 3
    assert obstacles.current(story.engine) == []


def test_a_host_that_came_back_during_the_attempts_fails_no_product(story, pipeline, archive):
    run_id = story.listed(count=1)
    answers = iter([DOWN])
    archive.files[url(1)] = lambda: next(answers, GOOD)
    story.listed(count=2)
    assert pipeline.work_on(run_id, 1, "worker").summary == "1 classified"


def test_a_missing_product_is_gone_for_good_only_if_its_archive_has_others(
    story, pipeline, archive
):
    run_id = story.listed(count=4)
    archive.files[url(3)] = NotFoundError("it does not exist")
    pipeline.work_on(run_id, 1, "worker")
    assert outcomes(story)[2] == (3, "failed", "not found", True)
    again = story.listed(count=4, reclassify=True)
    archive.everything = NotFoundError("it does not exist")
    pipeline.work_on(again, 1, "worker")
    assert [row[1] for row in outcomes(story)].count("classified") == 3


def test_a_missing_product_is_gone_for_good_only_if_it_is_missing_when_asked_again(
    story, pipeline, archive
):
    pipeline.work_on(story.listed(count=4), 1, "worker")
    before = story.rows("SELECT product_id, scores FROM outcome ORDER BY 1")
    once = iter([NotFoundError("it does not exist")])
    archive.files[url(3)] = lambda: next(once, GOOD)
    again = story.listed(count=4, reclassify=True)
    assert pipeline.work_on(again, 1, "worker").summary == "4 classified"
    assert story.rows("SELECT product_id, scores FROM outcome ORDER BY 1") == before


def test_a_missing_product_is_asked_for_again_after_the_chunk_and_over_new_connections(
    story, pipeline, archive, monkeypatch
):
    pipeline.work_on(story.listed(count=4), 1, "worker")
    before = story.rows("SELECT product_id, scores FROM outcome ORDER BY 1")
    archive.asked.clear()
    asked_before = []
    monkeypatch.setattr(archive, "reconnect", lambda: asked_before.extend(archive.asked))
    missing = NotFoundError("it does not exist")
    archive.files[url(1)] = lambda: GOOD if asked_before else missing
    again = story.listed(count=4, reclassify=True)
    assert pipeline.work_on(again, 1, "worker").summary == "4 classified"
    assert set(asked_before) == set(map(url, (1, 2, 3, 4)))
    assert story.rows("SELECT product_id, scores FROM outcome ORDER BY 1") == before


def test_products_that_move_while_their_old_places_are_read_are_read_at_the_new_ones(
    story, pipeline, archive, product, caplog
):
    old = [product(clock, source=f"{HOST}/") for clock in (1, 2, 3)]
    new = [replace(each, image_url=each.image_url.replace(".img", "_2.img")) for each in old]
    assert pipeline.work_on(story.listed_products(old), 1, "worker").summary == "3 classified"
    run_id = story.listed_products(old, reclassify=True)
    listings = iter([new])

    def gone():
        for products in listings:
            story.listed_products(products)
        return NotFoundError("it was answered with 404")

    archive.files = {each.image_url: gone for each in old}
    assert "to be read again" in pipeline.work_on(run_id, 1, "worker").summary
    assert {row[1] for row in outcomes(story)} == {"classified"}
    assert ("ready", 0, False) in chunks(story)
    assert f"is {new[0].image_url} now" in caplog.text
    assert pipeline.work_on(run_id, 1, "another").summary == "3 classified"
    assert story.rows("SELECT DISTINCT run_id FROM outcome") == [(run_id,)]
    assert ledger.reconcile(story.engine, run_id).ok


def test_a_listing_that_states_another_size_removes_no_outcome(story, pipeline, product):
    pipeline.work_on(story.listed(count=2), 1, "worker")
    before = outcomes(story)
    wrong = [product(clock, lines=512) for clock in (1, 2)]
    run_id = story.listed_products(wrong, reclassify=True)
    pipeline.work_on(run_id, 1, "worker")
    assert outcomes(story) == before
    assert ledger.progress(story.engine, run_id).failures == {"wrong size": 2}


def test_a_folder_that_is_not_mounted_proves_nothing_about_its_products(
    story, pipeline, archive, product, tmp_path
):
    folder = tmp_path / "archive"
    folder.mkdir()
    only = product(1, image_url=(folder / "1.img").as_uri(), source=f"{folder.as_uri()}/")
    archive.everything = NotFoundError("it does not exist")
    pipeline.work_on(story.listed_products([only]), 1, "worker")
    assert outcomes(story) == [(1, "failed", "not found", False)]
    archive.everything = None
    archive.files[only.image_url] = NotFoundError("it does not exist")
    (folder / "2.img").touch()
    pipeline.work_on(story.listed_products([only], reclassify=True), 1, "worker")
    assert outcomes(story) == [(1, "failed", "not found", True)]


def test_damage_is_proven_by_the_same_bytes_in_a_second_transfer(story, pipeline, archive):
    run_id = story.listed(count=4)
    bad = GOOD + b" damaged"
    passing, changing = iter([bad]), iter([bad, b"\0other damaged"])
    archive.files = {
        url(1): bad,
        url(3): lambda: next(passing, GOOD),
        url(4): lambda: next(changing, bad),
    }
    pipeline.work_on(run_id, 1, "worker")
    assert outcomes(story) == [
        (1, "failed", "undecodable", True),
        (2, "classified", None, False),
        (3, "classified", None, False),
        (4, "failed", "undecodable", False),
    ]


def test_damage_of_the_only_known_image_of_an_archive_is_not_proven(story, pipeline, archive):
    archive.files[url(1)] = GOOD + b" damaged"
    pipeline.work_on(story.listed(count=1), 1, "worker")
    assert outcomes(story) == [(1, "failed", "undecodable", False)]


@pytest.mark.parametrize("label", ["", f"{HOST}/{{}}.xml"], ids=["attached", "beside"])
def test_damage_of_all_images_of_an_archive_is_not_proven(story, pipeline, archive, product, label):
    products = [product(clock, label_url=label.format(clock) or None) for clock in (1, 2, 3, 4)]
    pipeline.work_on(story.listed_products(products), 1, "worker")
    before = outcomes(story)
    for each in products:
        archive.files[each.image_url] = GOOD + b" damaged"
    pipeline.work_on(story.listed_products(products, reclassify=True), 1, "worker")
    assert outcomes(story) == before
    archive.files = {url(3): GOOD + b" damaged"}
    pipeline.work_on(story.listed_products(products, reclassify=True), 1, "worker")
    assert outcomes(story)[2] == (3, "failed", "undecodable", True)


def test_a_host_that_serves_all_files_cut_short_is_waited_for(story, pipeline, archive):
    run_id = story.listed(count=4)
    archive.everything = GOOD + b" cut"
    assert "waits" in pipeline.work_on(run_id, 1, "worker").summary
    assert outcomes(story) == []
    (obstacle,) = obstacles.current(story.engine)
    assert "The other images that were tried end too early, too." in obstacle.reason


def test_a_file_that_is_cut_short_alone_fails_in_passing(story, pipeline, archive):
    archive.files[url(1)] = GOOD + b" cut"
    pipeline.work_on(story.listed(count=4), 1, "worker")
    assert outcomes(story)[0] == (1, "failed", "truncated", False)
    assert [state for _, state, _, _ in outcomes(story)[1:]] == ["classified"] * 3


def test_a_host_that_serves_all_files_damaged_proves_no_damage(story, pipeline, archive):
    pipeline.work_on(story.listed(count=4), 1, "worker")
    before = outcomes(story)
    archive.everything = GOOD + b" damaged"
    pipeline.work_on(story.listed(count=4, reclassify=True), 1, "worker")
    assert outcomes(story) == before


def test_the_share_of_missing_pixels_is_published(story, pipeline):
    pipeline.work_on(story.listed(count=1), 1, "worker")
    assert story.rows("SELECT missing_share FROM outcome") == [(0.25,)]


def test_scores_that_are_no_probabilities_end_the_run_at_once_with_the_reason(
    story, pipeline, classifier
):
    def fail():
        raise ScoresError("the classifier computes numbers that are no probabilities")

    run_id = story.listed(count=8)
    classifier.fails = fail
    assert "the run failed" in pipeline.work_on(run_id, 1, "worker").summary
    run = ledger.get_run(story.engine, run_id)
    assert (run.state, run.error) == (
        "failed",
        "the classifier computes numbers that are no probabilities",
    )
    assert outcomes(story) == []


def test_who_lost_the_chunk_does_not_end_its_run(story, pipeline, classifier):
    def lose_the_chunk_and_fail():
        story.lose_claims()
        story.claim(run_id, 1, "other")
        raise ScoresError("no probabilities")

    run_id = story.listed(count=8)
    classifier.fails = lose_the_chunk_and_fail
    assert pipeline.work_on(run_id, 1, "worker") == STOPPED
    assert ledger.get_run(story.engine, run_id).state == "running"
    assert story.rows("SELECT claimed_by, attempts FROM chunk WHERE number = 1") == [("other", 2)]


def test_a_worker_without_the_checkpoint_lists_a_run_as_soon_as_one_is_to_be_listed(story, archive):
    run_id = story.listed(count=8)
    rested = []

    def away(sha256):
        raise CheckpointUnusable("The checkpoint /models/first is not on this host.")

    without = Pipeline(
        story.engine,
        archive,
        away,
        2,
        600,
        3,
        pause=rested.append,
        is_other_work_waiting=lambda: sum(rested) >= 3,
    )
    without.work_on(run_id, 1, "without")
    assert sum(rested) == 3


def test_a_worker_without_the_checkpoint_leaves_chunks_to_others_and_takes_none_for_a_while(
    story, archive, pipeline, pauses, caplog
):
    run_id = story.listed(count=8)

    def away(sha256):
        raise CheckpointUnusable("The checkpoint /models/first is not on this host.")

    without = Pipeline(story.engine, archive, away, 2, 600, 3, pause=pauses.append)
    for number in (1, 2):
        without.work_on(run_id, number, "without")
    assert sum(pauses) == 2 * MACHINE_PAUSE
    assert len(caplog.records) == 1, "it is said once"
    [found] = obstacles.current(story.engine)
    assert found.kind == "checkpoint"
    assert found.run_ids == (run_id,)
    assert [row[:2] for row in chunks(story)] == [("ready", 0)] * 2
    assert pipeline.work_on(run_id, 1, "with").summary == "4 classified"
    assert pipeline.work_on(run_id, 2, "with").summary == "4 classified"
    assert obstacles.current(story.engine) == []


def test_an_outcome_is_not_written_by_a_worker_that_lost_its_lease(story, pipeline, archive):
    run_id = story.listed(count=1)

    def lose():
        story.execute("UPDATE chunk SET claimed_by = 'the successor'")
        return GOOD

    archive.everything = lose
    assert "stopped" in pipeline.work_on(run_id, 1, "worker").summary
    assert outcomes(story) == []


def test_bytes_and_retries_of_a_chunk_are_in_the_ledger(story, pipeline, archive):
    class Counting(Archive):
        transfers = Transfers(1000, 5)

        def fetch(self, url):
            self.transfers += Transfers(10, 1)
            return super().fetch(url)

    counting = Pipeline(story.engine, Counting(), pipeline.load_classifier, 1, 600, 3)
    counting.work_on(story.listed(count=4), 1, "worker")
    assert story.rows("SELECT fetched_bytes, retries FROM chunk") == [(40, 4)]


class ListingArchive(Archive):
    """A source of listings whose transfers fail as set."""

    connections_per_host = 8

    def open(self, url):
        raise self.everything

    fetch_start = open


def test_a_listing_waits_for_its_host_and_the_run_does_not_fail(story, archive):
    run_id = ledger.create_run(story.engine, NewRun(archives=(f"{HOST}/volume/",))).run_id
    source = ListingArchive()
    source.everything = DOWN
    for _ in range(5):
        assert "waits" in record_products(story.engine, run_id, "lister", source, 600).summary
        assert "nothing to do" in record_products(story.engine, run_id, "x", source, 600).summary
        now_due(story)
    assert ledger.get_run(story.engine, run_id).state == "listing"
    [found] = obstacles.current(story.engine)
    assert (found.subject, found.run_ids) == (HOST, (run_id,))


class OneBadFile(ListingArchive):
    """A host that answers, but never gives one file of a listing."""

    def fetch_once(self, url):
        return GOOD

    fetch = fetch_once


@pytest.mark.parametrize(
    "fault", [DOWN, NotAFileError("a web page"), SlowTransferError("it sends too slowly")]
)
def test_a_listing_whose_host_answers_fails_after_its_attempts_with_the_cause(story, caplog, fault):
    caplog.set_level("WARNING")
    run_id = ledger.create_run(story.engine, NewRun(archives=(f"{HOST}/volume/",))).run_id
    source = OneBadFile()
    source.everything = fault
    with pytest.raises(TransferError, match=str(fault)):
        record_products(story.engine, run_id, "lister", source, 600)
    assert len([each for each in caplog.records if str(fault) in each.message]) == (
        LISTING_ATTEMPTS - 1
    )
    run = ledger.get_run(story.engine, run_id)
    assert (run.state, run.error) == ("failed", str(fault))
    assert obstacles.current(story.engine) == []


def test_a_host_that_goes_down_while_damage_is_proven_makes_the_chunk_wait(
    story, pipeline, archive
):
    pipeline.work_on(story.listed(count=4), 1, "worker")
    run_id = story.listed(count=1, reclassify=True)
    archive.files[url(1)] = GOOD + b" damaged"

    def go_down():
        archive.everything = DOWN
        return DOWN

    for clock in (2, 3, 4):
        archive.files[url(clock)] = go_down
    assert "waits" in pipeline.work_on(run_id, 1, "worker").summary
    assert chunks(story)[-1] == ("ready", 0, True)
    assert outcomes(story)[0][1] == "classified"


def test_a_chunk_without_a_free_connection_is_postponed_uncounted_and_its_reason_is_shown(
    story, pipeline
):
    impatient = replace(pipeline, rules=HostRules(connections=2, queue_seconds=0))
    run_id = story.listed(count=12)
    with leased_connections(story.engine, [HOST], 2, impatient.rules, None, lambda: True):
        for _ in range(5):
            assert "connections to" in impatient.work_on(run_id, 1, "worker").summary
            assert ledger.take_unsent(story.engine, run_id, 99) == []
            now_due(story)
        assert chunks(story) == [("ready", 0, True)] * 3
        [found] = obstacles.current(story.engine)
        assert found.reason == f"All 2 connections to {HOST} are in use."
        assert found.run_ids == (run_id,)
    assert ledger.take_unsent(story.engine, run_id, 99) == [1, 2, 3]
    assert impatient.work_on(run_id, 1, "worker").summary == "4 classified"


def test_a_check_for_new_products_says_that_it_waits_for_a_connection_and_gets_one(story):
    rules = HostRules(connections=1, queue_seconds=0)
    told = []
    with ExitStack() as other:
        other.enter_context(leased_connections(story.engine, [HOST], 1, rules, 1, lambda: True))

        def say_and_free_one(waiting):
            told.append(waiting.subject)
            other.close()

        with leased_connections(
            story.engine, [HOST], 1, rules, None, lambda: True, say_and_free_one
        ) as granted:
            assert (granted, told) == (1, [HOST])
            assert obstacles.current(story.engine) == []


def test_connections_are_shared_by_all_workers_and_renewed_while_they_are_used(story):
    rules = HostRules(connections=3, patience=Patience(5, 300))
    with (
        leased_connections(story.engine, [HOST], 2, rules, None, lambda: True) as first,
        leased_connections(story.engine, [HOST], 2, rules, None, lambda: True) as second,
    ):
        assert (first, second) == (2, 1)
    assert story.rows("SELECT count(*) FROM archive_connection") == [(0,)]


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Example.org/a", "https://example.org"),
        ("http://example.org:8080/a", "http://example.org:8080"),
        ("http://[::1]:80/", "http://[::1]:80"),
        ("http://user:secret@example.org/", "http://example.org"),
        ("file:///a", None),
        ("http://[", None),
        ("http://a:99999/", None),
        ("http://a..b/", None),
        ("http://" + "漢" * 1000 + "/", None),
    ],
)
def test_a_host_is_scheme_name_and_port(url, host):
    assert host_of(url) == host
