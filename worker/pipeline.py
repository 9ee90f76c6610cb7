"""The stages of one chunk: fetch, decode, render, classify, publish. It does not use Celery."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urljoin

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from mernet.db import ledger
from mernet.db.errors import ConnectionFailed, ReadElsewhere
from mernet.db.ledger import Chunk, Lost, ProductRow, Split, publish_chunk
from mernet.db.obstacles import ObstacleKind
from mernet.db.products import OtherImage, others_of_source
from mernet.db.publish import Classified, Failed, Outcome
from mernet.model.errors import ScoresError
from mernet.pds.archive import url_at_mirror
from mernet.pds.errors import NotFoundError, PdsError
from mernet.printable import LONGEST_DETAIL, printable
from mernet.worker.archive_hosts import (
    OTHERS_ASKED,
    HostGuard,
    HostRules,
    ImageSource,
    host_of,
    report_host,
    require_hosts,
)
from mernet.worker.checkpoints import name_on_this_host
from mernet.worker.connections import leased_connections
from mernet.worker.errors import (
    Abandoned,
    CheckpointUnusable,
    HostDown,
    MustWait,
)
from mernet.worker.faults import (
    Fault,
    Proof,
    device_name,
    fault_of,
    is_fault,
    machine_and_database,
)
from mernet.worker.giving_back import ClaimedChunk
from mernet.worker.heartbeat import Heartbeat
from mernet.worker.listing_source import listing_files
from mernet.worker.logs import log_context
from mernet.worker.metrics import (
    STAGE_SECONDS,
    count_batches,
    count_outcome,
    count_transfers,
)
from mernet.worker.product_images import Picture, ProductReader, Rendering
from mernet.worker.task_result import NOTHING_TO_DO, STOPPED, TaskResult

log = logging.getLogger(__name__)

MACHINE_PAUSE = 10.0
"""Seconds that a worker takes no other chunk whose checkpoint, device or machine cannot be used."""

LOOK_SECONDS = 1.0
"""How often such a worker looks for other work."""


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
        rules: How archive hosts are treated.
        pause: Waits that many seconds.
        is_other_work_waiting: Whether this process has work to do that is no chunk.
        replace_process: Ends this process, in whose place another is started: after a fault of the
            device, a process cannot use it any more.
    """

    engine: sa.Engine
    source: ImageSource
    load_classifier: Callable[[str], ImageClassifier]
    threads: int
    lease_seconds: float
    max_attempts: int
    rules: HostRules = field(default_factory=HostRules)
    pause: Callable[[float], None] = time.sleep
    is_other_work_waiting: Callable[[], bool] = lambda: False
    replace_process: Callable[[], None] = lambda: None
    _complained: set[str] = field(default_factory=set)
    """sha256 of the classifiers about which a warning is in the log."""

    _proof: Proof = field(default_factory=Proof)

    def work_on(self, run_id: int, number: int, claimant: str) -> TaskResult:
        """Classify and publish a chunk, if it can be claimed.

        After an error the chunk is released for another attempt, and the error is raised again. It
        waits, uncounted, if no product is the cause: a fault of the database or of this machine.

        Args:
            run_id: The run.
            number: The number of the chunk in the run.
            claimant: A name that nobody else has, also not another delivery of the same message.

        Returns:
            What was done.
        """
        try:
            claimed = ledger.claim_chunk(
                self.engine, run_id, number, claimant, self.lease_seconds, self.max_attempts
            )
        except ConnectionFailed as error:  # perhaps only the answer was lost
            unknown = ClaimedChunk(self.engine, run_id, claimant, self.pause, number)
            return unknown.wait_for_database(error)
        match claimed:
            case Chunk():
                return self._classify_and_publish(claimed, claimant)
            case Split():
                log.warning(
                    "chunk %d of run %d failed too many times and was split in two", number, run_id
                )
                return TaskResult("failed too many times, split in two")
            case Lost(product_id=product_id):
                log.error("product %s failed permanently; the reason is in its outcome", product_id)
                return TaskResult(f"{product_id} failed permanently")
        return NOTHING_TO_DO

    def _classify_and_publish(self, chunk: Chunk, claimant: str) -> TaskResult:
        """Do a claimed chunk; heartbeats are sent until it is published or given back."""

        def beat() -> bool:
            return ledger.heartbeat(self.engine, chunk.run_id, chunk.number, claimant)

        with Heartbeat(beat, self.lease_seconds / 3) as heart:
            try:
                return self._classify_or_postpone(chunk, claimant, lambda: heart.wanted)
            except BaseException as error:
                result = self._give_back(chunk, claimant, error)
                if result is None:
                    raise
                return result

    def _give_back(self, chunk: Chunk, claimant: str, error: BaseException) -> TaskResult | None:
        """Give a chunk back after an error; return None if the error is to be raised again."""
        result = self._claimed(chunk, claimant).give_back_after(error)
        fault = fault_of(error, self.engine)
        if fault and fault.kind is not ObstacleKind.DATABASE:
            self._proof.forget((fault.kind, fault.subject))
            self._let_others_take_chunks()
        if fault and fault.kind is ObstacleKind.DEVICE:
            self.replace_process()
        return result

    def _classify_or_postpone(
        self, chunk: Chunk, claimant: str, is_wanted: Callable[[], bool]
    ) -> TaskResult:
        try:
            outcomes = self._outcomes(chunk, claimant, is_wanted)
            result = self._publish(chunk, claimant, outcomes)
        except Abandoned:
            return STOPPED
        except ReadElsewhere as error:
            log.warning("chunk %d of run %d is read again: %s", chunk.number, chunk.run_id, error)
            ledger.release(self.engine, chunk.run_id, chunk.number, claimant, counted=False)
            return TaskResult(f"to be read again: {error}")
        except HostDown as down:
            if is_fault(down):  # of this machine
                raise
            return self._postpone(chunk, claimant, report_host(self.engine, down, self.rules))
        except MustWait as waiting:
            return self._postpone(chunk, claimant, waiting)
        except CheckpointUnusable as error:
            return self._leave_to_others(chunk, claimant, error)
        except ScoresError as error:  # the pictures are 8-bit, so no product is the cause
            reason = printable(error, LONGEST_DETAIL)
            if not ledger.fail_run(self.engine, chunk.run_id, chunk.number, claimant, reason):
                return STOPPED
            log.error("run %d ends as failed: %s", chunk.run_id, reason)
            return TaskResult(f"the run failed: {reason}")
        self._note_success(outcomes)
        return result

    def _note_success(self, outcomes: Sequence[Outcome]) -> None:
        """Clear the obstacles of which a published chunk shows that they are gone."""
        shown = machine_and_database(self.engine)
        if any(isinstance(each, Classified) for each in outcomes):
            shown.append((ObstacleKind.DEVICE, device_name()))
        self._proof.clear_shown(self.engine, shown)

    def _postpone(self, chunk: Chunk, claimant: str, waiting: MustWait) -> TaskResult:
        """Give a chunk back that waits for a host, with all of the archives that are there."""
        sources = _sources_at(waiting.subject, chunk)
        if not ledger.postpone(
            self.engine,
            chunk.run_id,
            chunk.number,
            claimant,
            waiting.kind,
            waiting.subject,
            sources,
        ):
            return STOPPED
        return TaskResult(waiting.summary)

    def _leave_to_others(
        self, chunk: Chunk, claimant: str, error: CheckpointUnusable
    ) -> TaskResult:
        """Leave a chunk to workers that have its checkpoint; take no other one for a while."""
        if chunk.classifier not in self._complained:
            log.warning("%s Chunks are left to other workers.", error)
            self._complained.add(chunk.classifier)
        subject = name_on_this_host(self.engine, chunk.classifier)
        fault = Fault(ObstacleKind.CHECKPOINT, subject, printable(error, 500))
        self._proof.forget((fault.kind, subject))
        result = self._claimed(chunk, claimant).wait_for(fault)
        self._let_others_take_chunks()
        return result

    def _let_others_take_chunks(self) -> None:
        """Take no chunk for a while, or until there is other work."""
        for _ in range(int(MACHINE_PAUSE / LOOK_SECONDS)):
            self.pause(LOOK_SECONDS)
            if self.is_other_work_waiting():
                return

    def _claimed(self, chunk: Chunk, claimant: str) -> ClaimedChunk:
        sources = {product.source or "" for product in chunk.products}
        return ClaimedChunk(
            self.engine, chunk.run_id, claimant, self.pause, chunk.number, frozenset(sources)
        )

    def _outcomes(
        self, chunk: Chunk, claimant: str, is_wanted: Callable[[], bool]
    ) -> list[Outcome]:
        """Return one outcome for each product of the chunk, in their order."""
        classifier = self._load(chunk.classifier)
        before = self.source.transfers
        try:
            found = self._read_products(chunk, is_wanted)
        finally:
            transfers = self.source.transfers - before
            count_transfers(transfers)
            ledger.add_transfers(
                self.engine,
                chunk.run_id,
                chunk.number,
                claimant,
                transfers.received_bytes,
                transfers.retries,
            )
        pictures = [each for each in found if isinstance(each, Picture)]
        scores = iter(_scores(classifier, pictures) if pictures else ())
        return [
            each
            if isinstance(each, Failed)
            else Classified(product.product_id, next(scores), each.missing_share)
            for product, each in zip(chunk.products, found, strict=True)
        ]

    def _load(self, sha256: str) -> ImageClassifier:
        classifier = self.load_classifier(sha256)
        subject = name_on_this_host(self.engine, sha256)
        self._proof.clear_shown(self.engine, [(ObstacleKind.CHECKPOINT, subject)])
        self._complained.discard(sha256)
        return classifier

    def _read_products(self, chunk: Chunk, is_wanted: Callable[[], bool]) -> list[Picture | Failed]:
        """Return the picture of each product, or why it failed, in their order."""
        places = {
            place: product
            for product in chunk.products
            for place in _places_of(product, chunk.mirror)
        }
        guard = self._guard(places, chunk.mirror)
        by_host = {host: place for place in places if (host := host_of(place))}
        require_hosts(
            self.engine,
            by_host,
            self.rules,
            lambda host: guard.why_down(by_host[host]),
        )
        reader = ProductReader(guard, chunk.mirror)
        found: dict[str, Picture | Failed] = {}

        def read(product: ProductRow) -> Picture | Failed:
            if not is_wanted():
                raise Abandoned
            before = found.get(product.product_id)
            with log_context(run=chunk.run_id, chunk=chunk.number, product=product.product_id):
                if isinstance(before, Failed):
                    return reader.read_again(product, before)
                return reader.read(product)

        wanted = min(self.threads, len(chunk.products))
        with leased_connections(
            self.engine, by_host, wanted, self.rules, chunk.run_id, is_wanted
        ) as connections:
            found |= _for_each(read, chunk.products, connections)
            if missing := [each for each in chunk.products if _is_missing(found[each.product_id])]:
                self.source.reconnect()
                found |= _for_each(read, missing, connections)
        return [found[each.product_id] for each in chunk.products]

    def _guard(self, places: Mapping[str, ProductRow], mirror: str | None) -> HostGuard:
        """Return what fetches these files, and asks for others of their archives."""

        def product_at(url: str) -> ProductRow | None:
            """Return the product of a file; of another file of the host, one of this chunk."""
            same_host = (each for place, each in places.items() if host_of(place) == host_of(url))
            return places.get(url) or next(same_host, None)

        def others(url: str) -> list[OtherImage]:
            product = product_at(url)
            if product is None:
                return []
            own = [file for file in (product.image_url, product.label_url) if file]
            there = (file for file in own if host_of(_place(file, mirror)) == host_of(url))
            place = urljoin(next(there, product.image_url), "/")
            found = others_of_source(
                self.engine, product.source, product.image_url, place, OTHERS_ASKED
            )
            return [
                OtherImage(
                    _place(each.image_url, mirror),
                    each.label_url and _place(each.label_url, mirror),
                )
                for each in found
            ]

        def listings(url: str) -> list[str]:
            product = product_at(url)
            if product is None or not product.source:
                return []
            return listing_files(_place(product.source, mirror))

        return HostGuard(self.source, others, listings)

    def _publish(self, chunk: Chunk, claimant: str, outcomes: list[Outcome]) -> TaskResult:
        with STAGE_SECONDS.labels("publish").time():
            published = publish_chunk(self.engine, chunk, claimant, outcomes)
        if not published:
            return STOPPED
        for outcome in outcomes:
            count_outcome(outcome)
        return TaskResult(_summary(outcomes))


def _places_of(product: ProductRow, mirror: str | None) -> list[str]:
    """Return where to read the files of a product."""
    return [_place(url, mirror) for url in (product.label_url, product.image_url) if url]


def _sources_at(host: str, chunk: Chunk) -> set[str]:
    """Return the archives of a chunk with products at a host; all, if another file was there."""
    there = {
        product.source or ""
        for product in chunk.products
        if host in map(host_of, _places_of(product, chunk.mirror))
    }
    return there or {product.source or "" for product in chunk.products}


def _place(url: str, mirror: str | None) -> str:
    """Return where to read a file; with a mirror that cannot be used, the archive's own URL."""
    try:
        return url_at_mirror(url, mirror)
    except PdsError:
        return url


def _for_each(
    read: Callable[[ProductRow], Picture | Failed],
    products: Sequence[ProductRow],
    threads: int,
) -> dict[str, Picture | Failed]:
    """Read products in threads, by id; the first error ends those not begun, and is raised."""
    with ThreadPoolExecutor(threads, thread_name_prefix="fetch") as pool:
        tasks = [pool.submit(read, product) for product in products]
        done, _ = wait(tasks, return_when=FIRST_EXCEPTION)
        for task in tasks:
            task.cancel()
    for task in done:
        task.result()
    return {
        product.product_id: task.result() for product, task in zip(products, tasks, strict=True)
    }


def _is_missing(found: Picture | Failed) -> bool:
    return isinstance(found, Failed) and found.reason == NotFoundError.reason


def _scores(classifier: ImageClassifier, pictures: list[Picture]) -> npt.NDArray[np.float32]:
    """Return the scores of pictures.

    Raises:
        ScoresError: The classifier computes what is no probability.
    """
    with STAGE_SECONDS.labels("classify").time():
        scores = classifier.probabilities([each.rendering for each in pictures])
    count_batches(len(pictures), classifier.batch_size)
    return scores


def _summary(outcomes: list[Outcome]) -> str:
    """Return a text such as '31 classified, 1 failed (truncated)'."""
    reasons = [outcome.reason for outcome in outcomes if isinstance(outcome, Failed)]
    classified = f"{len(outcomes) - len(reasons)} classified"
    if not reasons:
        return classified
    return f"{classified}, {len(reasons)} failed ({', '.join(sorted(set(reasons)))})"
