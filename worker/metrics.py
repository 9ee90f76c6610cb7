"""A worker's own metrics for Prometheus; `mernet.worker.metrics_server` serves them."""

import math

from prometheus_client import Counter, Histogram

from mernet.db.publish import Failed, Outcome
from mernet.pds.fetch import Transfers

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

STAGE_SECONDS = Histogram(
    "mernet_stage_seconds",
    "Seconds spent in a stage: fetch and decode of one image, classify and publish of one chunk.",
    ["stage"],
    buckets=SECONDS,
)
FETCHED_BYTES = Counter(
    "mernet_fetched_bytes", "Bytes received from archives, those of broken transfers included."
)
FETCH_RETRIES = Counter("mernet_fetch_retries", "Repeated attempts to transfer a file.")
PRODUCTS = Counter(
    "mernet_products",
    "Products with a published outcome, by outcome and reason of failure.",
    ["outcome", "reason"],
)
BATCH_IMAGES = Counter("mernet_batch_images", "Images classified.")
BATCH_SLOTS = Counter(
    "mernet_batch_slots", "Image slots in the classified batches, padded ones included."
)


def count_outcome(outcome: Outcome) -> None:
    """Count a product whose outcome was published."""
    if isinstance(outcome, Failed):
        PRODUCTS.labels("failed", outcome.reason).inc()
    else:
        PRODUCTS.labels("classified", "").inc()


def count_transfers(transfers: Transfers) -> None:
    """Count what was transferred for a chunk or a listing."""
    FETCHED_BYTES.inc(transfers.received_bytes)
    FETCH_RETRIES.inc(transfers.retries)


def count_batches(images: int, batch_size: int) -> None:
    """Count `images` classified in batches of constant size; the last batch is padded."""
    BATCH_IMAGES.inc(images)
    BATCH_SLOTS.inc(math.ceil(images / batch_size) * batch_size)
