"""One chunk's way: fetch -> decode -> render -> classify -> publish. No Celery in it."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from mernet.db import ledger
from mernet.db.ledger import INTERNAL_ERROR, Chunk, Lost, ProductRow, Split
from mernet.db.publish import Classified, Failed, Outcome, publish_chunk
from mernet.pds.errors import PdsError
from mernet.pds.image import Frame, decode, render
from mernet.worker.errors import Abandoned
from mernet.worker.failure_reasons import WRONG_SIZE
from mernet.worker.heartbeat import Heartbeat
from mernet.worker.logs import log_context
from mernet.worker.metrics import FETCHED_BYTES, STAGE_SECONDS, count_batches, count_outcome
from mernet.worker.task_result import NOT_WANTED, NOTHING_TO_DO, Result

log = logging.getLogger(__name__)

Rendering = npt.NDArray[np.uint8]


class ImageSource(Protocol):
    """Where images' bytes come from."""

    def fetch(self, url: str) -> bytes:
        """All bytes at `url`; raises `PdsError`."""


class ImageClassifier(Protocol):
    """What gives renderings their probabilities, in batches of one size."""

    batch_size: int

    def probabilities(self, renderings: Sequence[Rendering]) -> npt.NDArray[np.float32]:
        """Calibrated probabilities, float32 of shape (images, 25)."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What a chunk goes through.

    `classifier` gives the classifier with that sha256, loading it where necessary; at most
    `threads` images are fetched and decoded at once; a chunk begun `max_attempts` times is split.
    """

    engine: sa.Engine
    source: ImageSource
    classifier: Callable[[str], ImageClassifier]
    threads: int
    lease_seconds: float
    max_attempts: int

    def work_on(self, run_id: int, number: int, claimant: str) -> Result:
        """Classify and publish a chunk; to be sent are the chunks that it was split into, if any.

        Nothing happens when there is nothing to do (closed, cancelled, another worker's). After an
        error the chunk is given back, and the error goes on.
        """
        taken = ledger.claim_chunk(
            self.engine, run_id, number, claimant, self.lease_seconds, self.max_attempts
        )
        match taken:
            case Chunk():
                return self._publish(taken, claimant)
            case Split(numbers=numbers):
                log.warning("chunk %d of run %d was begun too often; split in two", number, run_id)
                return Result("begun too often, split in two", numbers)
            case Lost(product_id=product_id):
                log.error("product %s is given up; its outcome says why", product_id)
                return Result(f"{product_id} is given up")
        return NOTHING_TO_DO

    def _publish(self, chunk: Chunk, claimant: str) -> Result:
        where = self.engine, chunk.run_id, chunk.number

        def beat() -> bool:
            return ledger.heartbeat(*where, claimant)

        try:
            with Heartbeat(beat, self.lease_seconds / 3) as heart:
                outcomes = self._outcomes(chunk, lambda: heart.wanted)
            if not beat():  # cut off, the heart may not have heard that another took over
                raise Abandoned
            return _hand_in(*where, outcomes)
        except Abandoned:
            return NOT_WANTED
        except BaseException as error:
            # An interrupted worker gives its attempt back; any other fault counts, so that a chunk
            # that no worker survives is split in the end.
            counted = isinstance(error, Exception)
            ledger.release(*where, claimant, counted, error=f"{type(error).__name__}: {error}")
            raise

    def _outcomes(self, chunk: Chunk, wanted: Callable[[], bool]) -> list[Outcome]:
        """One outcome for each product of the chunk, in their order."""
        with ThreadPoolExecutor(self.threads, thread_name_prefix="fetch") as pool:
            rendered = list(pool.map(lambda each: self._rendered(chunk, each), chunk.products))
        if not wanted():
            raise Abandoned
        pictures = [picture for picture in rendered if not isinstance(picture, Failed)]
        scores = iter(self._scores(chunk.classifier, pictures) if pictures else ())
        return [
            picture if isinstance(picture, Failed) else Classified(product.product_id, next(scores))
            for product, picture in zip(chunk.products, rendered, strict=True)
        ]

    def _rendered(self, chunk: Chunk, product: ProductRow) -> Rendering | Failed:
        with log_context(run=chunk.run_id, chunk=chunk.number, product=product.product_id):
            return _render(product, self.source)

    def _scores(self, sha256: str, pictures: list[Rendering]) -> npt.NDArray[np.float32]:
        classifier = self.classifier(sha256)
        with STAGE_SECONDS.labels("classify").time():
            scores = classifier.probabilities(pictures)
        count_batches(len(pictures), classifier.batch_size)
        return scores


def _hand_in(engine: sa.Engine, run_id: int, number: int, outcomes: list[Outcome]) -> Result:
    with STAGE_SECONDS.labels("publish").time():
        published = publish_chunk(engine, run_id, number, outcomes)
    if not published:
        return NOT_WANTED
    for outcome in outcomes:
        count_outcome(outcome)
    return Result(_sentence(outcomes))


def _sentence(outcomes: list[Outcome]) -> str:
    """As '31 classified, 1 failed (truncated)'."""
    reasons = [outcome.reason for outcome in outcomes if isinstance(outcome, Failed)]
    classified = f"{len(outcomes) - len(reasons)} classified"
    if not reasons:
        return classified
    return f"{classified}, {len(reasons)} failed ({', '.join(sorted(set(reasons)))})"


def _render(product: ProductRow, source: ImageSource) -> Rendering | Failed:
    """The product's rendering, or why there is none: what is wrong with one image stays here."""
    try:
        label = _fetch(source, product.label_url) if product.label_url else None
        image = _fetch(source, product.image_url)
        with STAGE_SECONDS.labels("decode").time():
            frame = decode(image, product.product_id, label)
            return _wrong_size(product, frame) or render(frame)
    except PdsError as error:
        log.warning("failed: %s", error)
        return Failed(product.product_id, error.reason, str(error))
    except Exception as error:  # a fault of ours with this image must not take the others down
        log.exception("product %s could not be rendered", product.product_id)
        return Failed(product.product_id, INTERNAL_ERROR, f"{type(error).__name__}: {error}")


def _fetch(source: ImageSource, url: str) -> bytes:
    with STAGE_SECONDS.labels("fetch").time():
        data = source.fetch(url)
    FETCHED_BYTES.inc(len(data))
    return data


def _wrong_size(product: ProductRow, frame: Frame) -> Failed | None:
    """The failure of a product whose file has another size than its listing promised."""
    height, width = frame.pixels.shape
    if (height, width) == (product.lines, product.line_samples):
        return None
    detail = (
        f"{product.product_id}: the file holds {height}x{width} pixels, but the listing says "
        f"{product.lines}x{product.line_samples}."
    )
    log.warning("failed: %s", detail)
    return Failed(product.product_id, WRONG_SIZE, detail)
