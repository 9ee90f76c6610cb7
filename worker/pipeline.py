"""The stages of one chunk: fetch, decode, render, classify, publish. It does not use Celery."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from mernet.db import ledger
from mernet.db.ledger import INTERNAL_ERROR, Chunk, Lost, ProductRow, Split, publish_chunk
from mernet.db.publish import Classified, Failed, Outcome
from mernet.pds.archive import is_mirrored, url_at_mirror
from mernet.pds.errors import PdsError
from mernet.pds.image import Frame, decode
from mernet.pds.rendering import render
from mernet.worker.errors import Abandoned
from mernet.worker.failure_reasons import WRONG_SIZE
from mernet.worker.heartbeat import Heartbeat
from mernet.worker.logs import log_context
from mernet.worker.metrics import FETCHED_BYTES, STAGE_SECONDS, count_batches, count_outcome
from mernet.worker.task_result import NOTHING_TO_DO, STOPPED, TaskResult

log = logging.getLogger(__name__)

Rendering = npt.NDArray[np.uint8]


class ImageSource(Protocol):
    """Fetches the bytes of images and labels."""

    def fetch(self, url: str) -> bytes:
        """Return all bytes at `url`.

        Raises:
            PdsError: If they cannot be fetched.
        """


class ImageClassifier(Protocol):
    """Classifies renderings in batches of constant size."""

    batch_size: int

    def probabilities(self, renderings: Sequence[Rendering]) -> npt.NDArray[np.float32]:
        """Return calibrated probabilities, float32 of shape (images, 25)."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Classifies and publishes chunks.

    Attributes:
        engine: The ledger.
        source: Fetches images and labels.
        load_classifier: Returns the classifier with a given sha256.
        threads: The number of images that are fetched and decoded at the same time.
        lease_seconds: The age of a heartbeat after which a chunk may be given to another worker.
        max_attempts: A chunk that was started this many times and never closed is split in two.
    """

    engine: sa.Engine
    source: ImageSource
    load_classifier: Callable[[str], ImageClassifier]
    threads: int
    lease_seconds: float
    max_attempts: int

    def work_on(self, run_id: int, number: int, claimant: str) -> TaskResult:
        """Classify and publish a chunk, if it can be claimed.

        After an error the chunk is released for another attempt, and the error is raised again.

        Args:
            run_id: The run.
            number: The number of the chunk in the run.
            claimant: A name that stays the same if the message is delivered twice.

        Returns:
            What was done; if the chunk had to be split, the new chunks are to be sent.
        """
        claimed = ledger.claim_chunk(
            self.engine, run_id, number, claimant, self.lease_seconds, self.max_attempts
        )
        match claimed:
            case Chunk():
                return self._classify_and_publish(claimed, claimant)
            case Split(numbers=numbers):
                log.warning(
                    "chunk %d of run %d failed too many times and was split in two", number, run_id
                )
                return TaskResult("failed too many times, split in two", numbers)
            case Lost(product_id=product_id):
                log.error("product %s failed permanently; the reason is in its outcome", product_id)
                return TaskResult(f"{product_id} failed permanently")
        return NOTHING_TO_DO

    def _classify_and_publish(self, chunk: Chunk, claimant: str) -> TaskResult:
        key = self.engine, chunk.run_id, chunk.number

        def beat() -> bool:
            return ledger.heartbeat(*key, claimant)

        try:
            with Heartbeat(beat, self.lease_seconds / 3) as heart:
                outcomes = self._outcomes(chunk, lambda: heart.wanted)
            if not beat():  # without a network, the heartbeat may have missed a new claimant
                raise Abandoned
            return _publish(*key, outcomes)
        except Abandoned:
            return STOPPED
        except BaseException as error:
            # An attempt that was interrupted does not count. After any other error it does, so
            # that a chunk which always fails is split in the end.
            counted = isinstance(error, Exception)
            ledger.release(*key, claimant, counted, error=f"{type(error).__name__}: {error}")
            raise

    def _outcomes(self, chunk: Chunk, is_wanted: Callable[[], bool]) -> list[Outcome]:
        """Return one outcome for each product of the chunk, in their order."""
        with ThreadPoolExecutor(self.threads, thread_name_prefix="fetch") as pool:
            rendered = list(pool.map(lambda each: self._render(chunk, each), chunk.products))
        if not is_wanted():
            raise Abandoned
        pictures = [picture for picture in rendered if not isinstance(picture, Failed)]
        scores = iter(self._scores(chunk.classifier, pictures) if pictures else ())
        return [
            picture if isinstance(picture, Failed) else Classified(product.product_id, next(scores))
            for product, picture in zip(chunk.products, rendered, strict=True)
        ]

    def _render(self, chunk: Chunk, product: ProductRow) -> Rendering | Failed:
        with log_context(run=chunk.run_id, chunk=chunk.number, product=product.product_id):
            found = _fetch_and_render(product, self.source, chunk.mirror)
        if isinstance(found, Failed) and chunk.mirror and is_mirrored(product.image_url):
            return replace(found, is_lasting=False)  # a mirror's copy proves nothing
        return found

    def _scores(self, sha256: str, pictures: list[Rendering]) -> npt.NDArray[np.float32]:
        classifier = self.load_classifier(sha256)
        with STAGE_SECONDS.labels("classify").time():
            scores = classifier.probabilities(pictures)
        count_batches(len(pictures), classifier.batch_size)
        return scores


def _publish(engine: sa.Engine, run_id: int, number: int, outcomes: list[Outcome]) -> TaskResult:
    with STAGE_SECONDS.labels("publish").time():
        published = publish_chunk(engine, run_id, number, outcomes)
    if not published:
        return STOPPED
    for outcome in outcomes:
        count_outcome(outcome)
    return TaskResult(_summary(outcomes))


def _summary(outcomes: list[Outcome]) -> str:
    """Return a text such as '31 classified, 1 failed (truncated)'."""
    reasons = [outcome.reason for outcome in outcomes if isinstance(outcome, Failed)]
    classified = f"{len(outcomes) - len(reasons)} classified"
    if not reasons:
        return classified
    return f"{classified}, {len(reasons)} failed ({', '.join(sorted(set(reasons)))})"


def _fetch_and_render(
    product: ProductRow, source: ImageSource, mirror: str | None
) -> Rendering | Failed:
    """Return the product's rendering, or why it failed: one bad image must not stop the others."""
    try:
        label = _fetch(source, product.label_url, mirror) if product.label_url else None
        image = _fetch(source, product.image_url, mirror)
        with STAGE_SECONDS.labels("decode").time():
            frame = decode(image, product.product_id, label)
            return _wrong_size(product, frame) or render(frame)
    except PdsError as error:
        log.warning("product failed: %s", error)
        return Failed(product.product_id, error.reason, str(error), error.is_lasting)
    except Exception as error:  # a defect that this image reveals must not stop the others
        log.exception("product %s could not be rendered", product.product_id)
        return Failed(product.product_id, INTERNAL_ERROR, f"{type(error).__name__}: {error}")


def _fetch(source: ImageSource, url: str, mirror: str | None) -> bytes:
    place = url_at_mirror(url, mirror)
    with STAGE_SECONDS.labels("fetch").time():
        data = source.fetch(place)
    FETCHED_BYTES.inc(len(data))
    return data


def _wrong_size(product: ProductRow, frame: Frame) -> Failed | None:
    """Return a failure if the file's image has another size than its listing states."""
    height, width = frame.pixels.shape
    if (height, width) == (product.lines, product.line_samples):
        return None
    detail = (
        f"{product.product_id}: the file contains {height}x{width} pixels, but the listing states "
        f"{product.lines}x{product.line_samples}."
    )
    log.warning("product failed: %s", detail)
    return Failed(product.product_id, WRONG_SIZE, detail)
