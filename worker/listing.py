"""Lists the eligible products of a run's archives in the ledger. It does not use Celery."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import sqlalchemy as sa

from mernet.db import ledger
from mernet.db.errors import ListingRefused
from mernet.db.ledger import ProductRow, Run
from mernet.db.products import own_images
from mernet.errors import MernetError
from mernet.pds.archive import Archive, ArchiveKind, resolve
from mernet.pds.completeness import CompletenessCheck
from mernet.pds.disk import is_gone
from mernet.pds.errors import PdsError, TransferError
from mernet.pds.fetch import Fetcher
from mernet.pds.listing import list_products
from mernet.pds.product import Product
from mernet.pds.selection import LeftOut, ProductKind, Selection
from mernet.printable import LONGEST_DETAIL, printable
from mernet.worker.archive_hosts import (
    HostRules,
    ListingSource,
    host_of,
    report_host,
    require_hosts,
    why_listing_fails,
)
from mernet.worker.connections import leased_connections
from mernet.worker.errors import Abandoned, HostDown, MustWait
from mernet.worker.giving_back import give_back_after
from mernet.worker.heartbeat import Heartbeat
from mernet.worker.metrics import count_transfers
from mernet.worker.task_result import NOTHING_TO_DO, STOPPED, TaskResult

log = logging.getLogger(__name__)

LISTING_ATTEMPTS = 3
"""How often a run is listed before it has failed.

Attempts in which the worker ended, or a file could not be transferred though its host answers.
"""

WITH_LABELS = (ArchiveKind.INVENTORY, ArchiveKind.REGISTRY)
"""Kinds of archives of which a label is read for each product."""


@dataclass(slots=True)
class Tally:
    """Counts the rows that a listing has read and the products left out by reason."""

    rows: int = 0
    counts: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    examples: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def leave_out(self, left_out: LeftOut) -> None:
        """Count a product that is left out, and store its name as one of a few examples."""
        self.counts[left_out.reason] += 1
        if len(self.examples[left_out.reason]) < ledger.EXAMPLES_KEPT:
            self.examples[left_out.reason].append(printable(left_out.name))

    def left_out(self) -> dict[str, ledger.LeftOutCount]:
        """Return the counts and examples by reason, as the ledger stores them."""
        return {
            reason: ledger.LeftOutCount(count, tuple(self.examples[reason]))
            for reason, count in self.counts.items()
        }


def record_products(
    engine: sa.Engine,
    run_id: int,
    claimant: str,
    fetcher: Fetcher,
    lease_seconds: float,
    rules: HostRules | None = None,
) -> TaskResult:
    """List a run's products in the ledger and divide them into chunks.

    If an archive's host is down, the listing waits. If one file cannot be transferred though its
    host answers, the run is listed again, `LISTING_ATTEMPTS` times in all. If an archive cannot be
    listed for another reason, the run is marked as failed with it.
    A process that lost the listing to another one, such as one that was stopped for long, changes
    nothing.

    Args:
        engine: The ledger.
        run_id: The run, which is in the state 'listing'.
        claimant: A name that nobody else has, also not another delivery of the same message.
        fetcher: Fetches the listings.
        lease_seconds: The age of a heartbeat after which another worker may list the run.
        rules: How archive hosts are treated; None for the defaults.

    Returns:
        What was done.

    Raises:
        PdsError: If an archive cannot be listed.
        ListingRefused: If a product breaks a rule of the product table.
    """
    run = ledger.claim_listing(engine, run_id, claimant, lease_seconds, LISTING_ATTEMPTS)
    if run is None:
        return NOTHING_TO_DO
    try:
        return _record(engine, run, claimant, fetcher, lease_seconds, rules or HostRules())
    except BaseException as error:
        give_back_after(
            error,
            lambda counted: ledger.release_listing(engine, run_id, claimant, counted=counted),
            lease_seconds,
        )
        raise


def _record(
    engine: sa.Engine,
    run: Run,
    claimant: str,
    fetcher: Fetcher,
    lease_seconds: float,
    rules: HostRules,
) -> TaskResult:
    run_id = run.run_id
    tally = Tally()

    def beat() -> bool:
        return ledger.report_rows(engine, run_id, claimant, tally.rows)

    try:
        with Heartbeat(beat, min(2, lease_seconds / 3)) as heart:
            rows = _list_products(engine, run, fetcher, tally, heart, rules)
            recorded = beat() and ledger.record_listing(
                engine, run_id, claimant, rows, tally.left_out(), moved_images(engine, rows)
            )
    except Abandoned:
        return STOPPED
    except HostDown as down:
        return _postpone(engine, run_id, claimant, report_host(engine, down, rules))
    except MustWait as waiting:
        return _postpone(engine, run_id, claimant, waiting)
    except TransferError as error:  # of one file, whose host answers
        if run.attempts < LISTING_ATTEMPTS:
            log.warning("run %d is listed again: %s", run_id, error)
            ledger.release_listing(engine, run_id, claimant, counted=True)
            return TaskResult(f"is tried again: {printable(error)}")
        return _fail(engine, run_id, claimant, error)
    except (PdsError, ListingRefused) as error:
        return _fail(engine, run_id, claimant, error)
    if not recorded:
        return STOPPED
    return TaskResult(f"{len(rows)} products listed, {sum(tally.counts.values())} left out")


def _fail(engine: sa.Engine, run_id: int, claimant: str, error: MernetError) -> TaskResult:
    """End a run that cannot be listed, and raise the error, unless the listing was lost."""
    if ledger.fail_listing(engine, run_id, claimant, printable(error, LONGEST_DETAIL)):
        raise error
    return STOPPED


def _postpone(engine: sa.Engine, run_id: int, claimant: str, waiting: MustWait) -> TaskResult:
    if not ledger.postpone_listing(engine, run_id, claimant, waiting.kind, waiting.subject):
        return STOPPED
    return TaskResult(waiting.summary)


def _list_products(
    engine: sa.Engine, run: Run, fetcher: Fetcher, tally: Tally, heart: Heartbeat, rules: HostRules
) -> list[ProductRow]:
    """Return the eligible products; raise `Abandoned` as soon as the heartbeat is refused."""

    def count(rows: int) -> None:
        tally.rows = rows
        if not heart.wanted:
            raise Abandoned

    archives = [resolve(archive, run.mirror) for archive in run.archives]
    hosts = {host: archive.url for archive in archives if (host := host_of(archive.url))}
    require_hosts(engine, hosts, rules, lambda host: why_listing_fails(hosts[host], fetcher))
    selection = Selection(cast("ProductKind", run.products))
    completeness = CompletenessCheck(run.accept_short_listing)
    before = fetcher.transfers
    try:
        with listing_source(
            engine, archives, fetcher, rules, run.run_id, lambda: heart.wanted
        ) as source:
            found = list_products(
                archives, selection, source, tally.leave_out, count, completeness=completeness
            )
            return [to_row(product) for product in found]
    finally:
        transfers = fetcher.transfers - before
        count_transfers(transfers)
        ledger.add_transfers(engine, run.run_id, None, transfers.received_bytes, transfers.retries)


@contextmanager
def listing_source(
    engine: sa.Engine,
    archives: Sequence[Archive],
    fetcher: Fetcher,
    rules: HostRules,
    run_id: int | None,
    is_wanted: Callable[[], bool],
    on_wait: Callable[[MustWait], None] | None = None,
) -> Iterator[ListingSource]:
    """Give a listing its files, over connections that are leased while the block runs.

    Labels of PDS4 products are fetched several at once, over half of the connections; all else is
    read file by file. Waits for connections as `leased_connections` does.
    """
    hosts = {host: archive.url for archive in archives if (host := host_of(archive.url))}

    def why_down(url: str) -> HostDown | None:
        return why_listing_fails(hosts.get(host_of(url) or "", url), fetcher)

    has_labels = any(archive.kind in WITH_LABELS for archive in archives)
    wanted = max(1, rules.connections // 2) if has_labels else 1
    with leased_connections(
        engine, hosts, wanted, rules, run_id, is_wanted, on_wait
    ) as connections:
        yield ListingSource(fetcher, connections, why_down)


def moved_images(engine: sa.Engine, rows: Iterable[ProductRow]) -> tuple[str, ...]:
    """Return the ids of listed own images whose files are gone from where they were.

    They are moved files. If a file is still there, the listed one is a copy.
    """
    listed = {row.product_id: row.image_url for row in rows if row.collection == "own"}
    known = own_images(engine, list(listed)) if listed else {}
    return tuple(
        product_id
        for product_id, url in known.items()
        if url != listed[product_id] and is_gone(url)
    )


def to_row(product: Product) -> ProductRow:
    """Convert a listed product to a row of the ledger."""
    name = product.name
    return ProductRow(
        product_id=product.product_id,
        rover=name.rover,
        sol=product.sol,
        site=product.site,
        drive=product.drive,
        sequence=name.sequence,
        start_time=product.start_time,
        local_solar_time=product.local_solar_time,
        lines=product.lines,
        line_samples=product.line_samples,
        image_url=product.image_url,
        label_url=product.label_url,
        browse_url=product.browse_url,
        source=product.source,
        collection="own" if product.is_own else "archive",
    )
