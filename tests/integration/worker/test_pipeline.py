"""The pipeline of a chunk, with a simulated archive and classifier."""

from dataclasses import replace

import numpy as np
import pytest
from prometheus_client import REGISTRY

from mernet.db import ledger
from mernet.pds.errors import DecodeError, NotFoundError, TransferError
from mernet.pds.fetch import Transfers
from mernet.pds.image import Frame
from mernet.worker import product_images
from mernet.worker.pipeline import Pipeline
from mernet.worker.task_result import NOTHING_TO_DO, STOPPED, TaskResult

PRODUCT = b"PDS_VERSION_ID = PDS3 "
STAGES = ("fetch", "decode", "classify", "publish")


class Archive:
    """An archive whose images are black, and whose faults are set by URL."""

    def __init__(self):
        self.faults = {}
        self.asked = []

    transfers = Transfers()

    def fetch(self, url):
        self.asked.append(url)
        if url in self.faults:
            raise self.faults[url]
        return b"<label/>" if url.endswith(".xml") else PRODUCT + url.encode()

    def fetch_once(self, url):
        return self.fetch(url)

    def reconnect(self):
        """There are no connections."""


class Brightness:
    """A classifier that gives every class the share of white in the image."""

    batch_size = 8

    def __init__(self):
        self.renderings = []

    def __call__(self, sha256):
        return self

    def probabilities(self, renderings):
        self.renderings += renderings
        return np.array([[each.mean() / 255] * 25 for each in renderings], np.float32)


@pytest.fixture
def archive():
    return Archive()


@pytest.fixture
def classifier():
    return Brightness()


@pytest.fixture
def pipeline(story, archive, classifier, monkeypatch):
    def decode(data, name, label=None):
        if data.endswith(b"damaged.img"):
            raise DecodeError(f"{name} is damaged")
        if data.endswith(b"bug.img"):
            raise RuntimeError("a fault of ours")
        pixels = np.full((1024, 1024), 100, np.uint16)
        pixels[0, 0] = 0
        return Frame(pixels[:512, :512] if data.endswith(b"small.img") else pixels, None)

    monkeypatch.setattr("mernet.worker.product_images.decode", decode)
    return Pipeline(
        engine=story.engine,
        source=archive,
        load_classifier=classifier,
        threads=2,
        lease_seconds=600,
        max_attempts=3,
    )


def outcomes(story):
    return story.rows("SELECT product_id, state, reason FROM outcome ORDER BY product_id")


def test_a_chunk_is_fetched_classified_and_published(story, pipeline):
    run_id = story.listed(count=3)
    assert pipeline.work_on(run_id, 1, "worker") == TaskResult("3 classified")
    assert [state for _, state, _ in outcomes(story)] == ["classified"] * 3
    assert story.rows("SELECT count(*) FROM classification") == [(3 * 25,)]
    assert ledger.get_run(story.engine, run_id).state == "finished"


def test_a_chunk_takes_no_more_of_the_shared_connections_than_it_has_products(story, pipeline):
    taken = []

    def render(frame):
        taken.append(story.rows("SELECT connections FROM archive_connection"))
        return pixels(frame)

    pixels = product_images.render
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(product_images, "render", render)
        replace(pipeline, threads=8).work_on(story.listed(count=3), 1, "worker")
    assert taken == [[(3,)]] * 3


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://example.org/missing.img", "not found"),
        ("https://example.org/damaged.img", "undecodable"),
        ("https://example.org/small.img", "wrong size"),
        ("https://example.org/bug.img", "internal error"),
    ],
)
def test_one_bad_image_does_not_affect_the_others(
    story, pipeline, archive, product, url, reason, caplog
):
    archive.faults["https://example.org/missing.img"] = NotFoundError("there is no such file")
    products = [product(1), product(2, image_url=url), product(3)]
    run_id = story.listed_products(products)
    result = pipeline.work_on(run_id, 1, "worker")
    assert result == TaskResult(f"2 classified, 1 failed ({reason})")
    assert [row[1:] for row in outcomes(story)] == [
        ("classified", None),
        ("failed", reason),
        ("classified", None),
    ]
    assert [record.levelname for record in caplog.records] in (["WARNING"], ["ERROR"])


def test_a_chunk_without_any_readable_image_loads_no_classifier(
    story, pipeline, classifier, product
):
    run_id = story.listed_products([product(1, image_url="https://example.org/damaged.img")])
    pipeline.work_on(run_id, 1, "worker")
    assert classifier.renderings == []
    assert ledger.get_run(story.engine, run_id).state == "finished"


def test_a_detached_label_is_fetched_too(story, pipeline, archive, product):
    run_id = story.listed_products([product(1, label_url="https://example.org/1.xml")])
    pipeline.work_on(run_id, 1, "worker")
    assert set(archive.asked) == {"https://example.org/1.xml", "https://example.org/1.img"}


def test_a_message_delivered_twice_does_nothing_the_second_time(story, pipeline, archive):
    run_id = story.listed(count=2)
    pipeline.work_on(run_id, 1, "worker")
    before = len(archive.asked)
    assert pipeline.work_on(run_id, 1, "another") == NOTHING_TO_DO
    assert len(archive.asked) == before


def test_a_run_cancelled_meanwhile_publishes_nothing(story, pipeline, archive):
    run_id = story.listed(count=2)
    archive.fetch = lambda url: ledger.cancel_run(story.engine, run_id) and PRODUCT
    assert pipeline.work_on(run_id, 1, "worker") == STOPPED
    assert outcomes(story) == []


def test_failures_of_a_worker_without_network_are_not_published_over_its_successor(
    story, pipeline, archive
):
    run_id = story.listed(count=1)

    def fetch(url):
        story.execute("UPDATE chunk SET claimed_by = 'the successor'")
        raise TransferError("the network is silent")

    archive.fetch = fetch
    assert pipeline.work_on(run_id, 1, "worker") == STOPPED
    assert outcomes(story) == []


def test_a_chunk_that_failed_too_often_is_split_and_its_halves_are_to_be_sent(story, pipeline):
    run_id = story.listed(count=4)
    story.execute("UPDATE chunk SET attempts = 3")
    result = pipeline.work_on(run_id, 1, "worker")
    assert result == TaskResult("failed too many times, split in two")
    assert ledger.take_unsent(story.engine, run_id, 99) == [2, 3]


def test_a_product_that_always_fails_gets_a_failed_outcome(story, pipeline):
    run_id = story.listed(count=1)
    story.execute("UPDATE chunk SET attempts = 3")
    (name,) = story.rows("SELECT product_id FROM product")[0]
    assert pipeline.work_on(run_id, 1, "worker") == TaskResult(f"{name} failed permanently")
    assert outcomes(story) == [(name, "failed", "worker lost")]


def test_after_an_error_the_chunk_is_released_and_the_attempt_counts(story, pipeline, classifier):
    run_id = story.listed(count=2)

    def probabilities(renderings):
        raise KeyError("a defect")

    classifier.probabilities = probabilities
    with pytest.raises(KeyError):
        pipeline.work_on(run_id, 1, "worker")
    assert story.rows("SELECT state, attempts FROM chunk") == [("ready", 1)]


def test_an_interrupted_attempt_does_not_count(story, pipeline, classifier):
    run_id = story.listed(count=2)

    def probabilities(renderings):
        raise KeyboardInterrupt

    classifier.probabilities = probabilities
    with pytest.raises(KeyboardInterrupt):
        pipeline.work_on(run_id, 1, "worker")
    assert story.rows("SELECT state, attempts FROM chunk") == [("ready", 0)]


def test_duration_and_outcomes_of_a_chunk_are_counted(story, pipeline, archive):
    def value(name, **labels):
        return REGISTRY.get_sample_value(name, labels) or 0

    def counts():
        return [
            value("mernet_products_total", outcome="classified", reason=""),
            value("mernet_products_total", outcome="failed", reason="not found"),
            value("mernet_batch_images_total"),
            value("mernet_batch_slots_total"),
            *(value("mernet_stage_seconds_count", stage=stage) for stage in STAGES),
        ]

    run_id = story.listed(count=4)
    archive.faults["https://example.org/2.img"] = NotFoundError("It is gone.")
    before = counts()
    pipeline.work_on(run_id, 1, "worker")
    gained = [after - earlier for after, earlier in zip(counts(), before, strict=True)]
    assert gained == [3, 1, 3, 8, 5, 3, 1, 1], "what is missing is asked for twice"
