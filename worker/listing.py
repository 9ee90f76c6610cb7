"""Lists the eligible products of a run's archives in the ledger. It does not use Celery."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from itertools import chain
from typing import cast

import sqlalchemy as sa
from tenacity import (
    RetryCallState,
    before_sleep_log,
    retry,
    retry_if_exception_type,
    stop_after_attempt,
)

from mernet.db import ledger
from mernet.db.errors import ConnectionFailed, ListingRefused
from mernet.db.ledger import LeftOutCount, NotListed, ProductRow, Run, RunState, add_left_out
from mernet.db.products import own_images
from mernet.errors import MernetError
from mernet.pds.archive import resolve
from mernet.pds.completeness import CompletenessCheck
from mernet.pds.disk import gone_files
from mernet.pds.errors import CutLabelError, PdsError, ShortListingError, TransferError
from mernet.pds.fetch import Fetcher
from mernet.pds.listing import highest_versions, list_products
from mernet.pds.product import Product
from mernet.pds.selection import LeftOut, ProductKind, Selection
from mernet.printable import LONGEST_DETAIL, printable
from mernet.worker.archive_hosts import HostRules, report_host, require_hosts
from mernet.worker.errors import Abandoned, HostDown, ListingTooLarge, MustWait
from mernet.worker.faults import Proof, is_fault, machine_and_database, needs_too_much_memory
from mernet.worker.giving_back import ClaimedListing
from mernet.worker.heartbeat import Heartbeat
from mernet.worker.listing_source import hosts_of, listing_source, why_archives_fail
from mernet.worker.metrics import count_transfers
from mernet.worker.task_result import NOTHING_TO_DO, STOPPED, TaskResult

log = logging.getLogger(__name__)

LISTING_ATTEMPTS = 3
"""How often an archive is listed of which a file cannot be transferred though its host answers.

So often, too, if a table or its label ends early: it may just be replaced.
"""

SHORT_TABLE_PAUSE = 5.0
"""Seconds after which a table or label that ended early is read again."""

ENDED_EARLY = (ShortListingError, CutLabelError)

WORKERS_LOST = 6
"""How many workers may be lost, one after the other, while they list an archive.

One that is killed from outside looks like one that the listing itself ends. A listing for which
the memory of a worker is too small counts like a lost worker.
"""


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

    def left_out(self) -> dict[str, LeftOutCount]:
        """Return the counts and examples by reason, as the ledger stores them."""
        return {
            reason: LeftOutCount(count, tuple(self.examples[reason]))
            for reason, count in self.counts.items()
        }


@dataclass(slots=True)
class Listings:
    """The archives of a run that one worker lists, by their names in the run.

    Attributes:
        wanted: The archives to list.
        rows: The number of index rows read of each archive so far.
        products: The eligible products of the archives that were listed.
        left_out: What these archives left out.
        errors: Why archives cannot be listed.
        waits: What archives wait for, such as a host that is down.
    """

    wanted: tuple[str, ...]
    rows: dict[str, int] = field(default_factory=dict)
    products: dict[str, list[Product]] = field(default_factory=dict)
    left_out: dict[str, Mapping[str, LeftOutCount]] = field(default_factory=dict)
    errors: dict[str, MernetError] = field(default_factory=dict)
    waits: dict[str, MustWait] = field(default_factory=dict)

    def refuse(self, name: str, error: MernetError) -> None:
        """Note that an archive cannot be listed."""
        self.products.pop(name, None)
        self.left_out.pop(name, None)
        self.errors[name] = error

    def combined(self) -> tuple[list[ProductRow], dict[str, LeftOutCount]]:
        """Return the highest versions of the products, and what was left out by reason."""
        tally = Tally()
        products = highest_versions(chain.from_iterable(self.products.values()), tally.leave_out)
        counts = reduce(add_left_out, self.left_out.values(), tally.left_out())
        return [to_row(product) for product in products], counts

    def not_listed(self, run: Run) -> NotListed:
        """Return what is still to be listed, and when; and what cannot be listed."""
        later = [name for name in run.unlisted if name not in self.wanted]
        waits = () if later else tuple((each.kind, each.subject) for each in self.waits.values())
        errors = [_error_of(name, error, run) for name, error in self.errors.items()]
        archives = tuple(name for name in run.unlisted if name in (*later, *self.waits))
        return NotListed(archives, " ".join(errors) or None, waits)


def record_products(
    engine: sa.Engine,
    run_id: int,
    claimant: str,
    fetcher: Fetcher,
    lease_seconds: float,
    rules: HostRules | None = None,
) -> TaskResult:
    """List a run's products in the ledger and divide them into chunks.

    Archives are listed one by one. If one cannot be listed, the run continues with the others and
    ends as failed; so it does at once if there are no others. If an archive's host is down, only
    that archive waits to be listed. If a file cannot be transferred though its host answers, the
    archive is listed again, `LISTING_ATTEMPTS` times in all.
    If a worker was lost while it listed, the archives are recorded one by one too, so that one that
    ends its worker, or needs more memory than it has, is found; it is not tried more often than
    `WORKERS_LOST` times.
    A process that lost the listing to another one, such as one that was stopped for long, changes
    nothing.

    Args:
        engine: The ledger.
        run_id: The run, of which archives are still to be listed.
        claimant: A name that nobody else has, also not another delivery of the same message.
        fetcher: Fetches the listings.
        lease_seconds: The age of a heartbeat after which another worker may list the run.
        rules: How archive hosts are treated; None for the defaults.

    Returns:
        What was done.

    Raises:
        PdsError: If no archive can be listed.
        ListingRefused: If a product breaks a rule of the product table, in each archive.
        ListingTooLarge: If it needs more memory than this process may have.
    """
    try:
        run = ledger.claim_listing(engine, run_id, claimant, lease_seconds, WORKERS_LOST)
    except ConnectionFailed as error:  # perhaps only the answer was lost
        return ClaimedListing(engine, run_id, claimant).wait_for_database(error)
    if run is None:
        return NOTHING_TO_DO
    return _list_or_give_back(engine, run, claimant, fetcher, lease_seconds, rules or HostRules())


def _list_or_give_back(
    engine: sa.Engine,
    run: Run,
    claimant: str,
    fetcher: Fetcher,
    lease_seconds: float,
    rules: HostRules,
) -> TaskResult:
    """List what was claimed; after an error, another attempt may be made."""
    try:
        return _list_and_record(engine, run, claimant, fetcher, lease_seconds, rules)
    except Abandoned:
        return STOPPED
    except BaseException as error:
        claimed = ClaimedListing(engine, run.run_id, claimant, archives=run.unlisted)
        result = claimed.give_back_after(error)
        if result is None:
            raise
        return result


def _list_and_record(
    engine: sa.Engine,
    run: Run,
    claimant: str,
    fetcher: Fetcher,
    lease_seconds: float,
    rules: HostRules,
) -> TaskResult:
    listings = Listings(run.unlisted if run.attempts == 1 else run.unlisted[:1])

    def beat() -> bool:
        return ledger.report_rows(engine, run.run_id, claimant, sum(listings.rows.values()))

    with memory_for(*listings.wanted), Heartbeat(beat, min(2, lease_seconds / 3)) as heart:
        _list_archives(engine, run, claimant, fetcher, listings, heart, rules)
        recorded = beat() and _record(engine, run, claimant, listings)
    if listings.products:
        Proof().clear_shown(engine, machine_and_database(engine))
    if not recorded:
        return STOPPED
    is_over = run.state is RunState.LISTING and not listings.products and not listings.waits
    for name, error in listings.errors.items():
        if is_over and len(listings.wanted) == len(run.unlisted):
            raise error
        log.error("run %d continues without the archive %s: %s", run.run_id, printable(name), error)
    return TaskResult(_summary(listings))


@contextmanager
def memory_for(*archives: str) -> Iterator[None]:
    """Raise `ListingTooLarge` if to list archives alone needs more memory than a process has."""
    try:
        yield
    except Exception as error:
        if needs_too_much_memory(error):
            raise ListingTooLarge(
                f"To list {printable(', '.join(archives))} needs more memory than this process may "
                "have; allow it more."
            ) from None  # for the cause would be a fault of the machine
        raise


def _record(engine: sa.Engine, run: Run, claimant: str, listings: Listings) -> bool:
    """Record what was listed; without the archive of a product that the ledger refuses."""
    while listings.products:
        rows, left_out = listings.combined()
        try:
            return ledger.record_listing(
                engine, run.run_id, claimant, rows, left_out, listings.not_listed(run),
                sum(listings.rows.values()), moved_own_images(engine, rows),
            )  # fmt: skip
        except ListingRefused as error:
            listings.refuse(_lister_of(error, run, listings), error)
    return ledger.record_not_listed(engine, run.run_id, claimant, listings.not_listed(run))


def _lister_of(refused: ListingRefused, run: Run, listings: Listings) -> str:
    """Return the archive that lists the refused product."""
    names = {resolve(name, run.mirror).source: name for name in listings.products}
    return names.get(refused.source or "") or next(iter(listings.products))


def _error_of(name: str, error: MernetError, run: Run) -> str:
    """Return why an archive cannot be listed, with its name if the run has several."""
    why = printable(error, LONGEST_DETAIL)
    return why if len(run.archives) == 1 else f"The archive {printable(name)} is not listed: {why}"


def _summary(listings: Listings) -> str:
    rows, left_out = listings.combined()
    words = [f"{len(rows)} products listed", f"{sum(e.count for e in left_out.values())} left out"]
    words += [f"{len(listings.errors)} archives cannot be listed"] if listings.errors else []
    words += [each.summary for each in listings.waits.values()]
    return ", ".join(words)


def _list_archives(
    engine: sa.Engine,
    run: Run,
    claimant: str,
    fetcher: Fetcher,
    listings: Listings,
    heart: Heartbeat,
    rules: HostRules,
) -> None:
    """List the wanted archives; raise `Abandoned` as soon as the heartbeat is refused."""
    before = fetcher.transfers
    try:
        for name in listings.wanted:
            try:
                _list_archive(engine, run, name, fetcher, listings, heart, rules)
            except MustWait as waiting:
                listings.waits[name] = waiting
            except (HostDown, PdsError) as error:
                if is_fault(error):  # of this machine
                    raise
                if isinstance(error, HostDown):
                    listings.waits[name] = report_host(engine, error, rules)
                else:
                    listings.refuse(name, error)
    finally:
        transfers = fetcher.transfers - before
        count_transfers(transfers)
        ledger.add_transfers(
            engine, run.run_id, None, claimant, transfers.received_bytes, transfers.retries
        )


def _pause(state: RetryCallState) -> float:
    """Return how long to wait before an archive is listed again."""
    error = state.outcome and state.outcome.exception()
    return SHORT_TABLE_PAUSE if isinstance(error, ENDED_EARLY) else 0.0


@retry(
    retry=retry_if_exception_type((TransferError, *ENDED_EARLY)),
    wait=_pause,
    stop=stop_after_attempt(LISTING_ATTEMPTS),
    before_sleep=before_sleep_log(log, logging.WARNING),
    reraise=True,
)
def _list_archive(
    engine: sa.Engine,
    run: Run,
    name: str,
    fetcher: Fetcher,
    listings: Listings,
    heart: Heartbeat,
    rules: HostRules,
) -> None:
    """Add what an archive lists to `listings`."""
    archive = resolve(name, run.mirror)
    tally = Tally()

    def count(rows: int) -> None:
        listings.rows[name] = rows
        if not heart.wanted:
            raise Abandoned

    require_hosts(
        engine,
        hosts_of([archive]),
        rules,
        lambda host: why_archives_fail(engine, [archive], fetcher, host),
    )
    with listing_source(
        engine, [archive], fetcher, rules, run.run_id, lambda: heart.wanted
    ) as source:
        products = list_products(
            [archive],
            Selection(cast("ProductKind", run.products)),
            source,
            tally.leave_out,
            count,
            completeness=CompletenessCheck(run.accept_short_listing),
        )
        listings.products[name] = list(products)
    listings.left_out[name] = tally.left_out()


def moved_own_images(engine: sa.Engine, rows: Iterable[ProductRow]) -> tuple[str, ...]:
    """Return the ids of listed own images whose files are gone from where they were.

    They are moved files. If a file is still there, or its disk may only not be mounted, the listed
    one is a copy.
    """
    listed = {row.product_id: row.image_url for row in rows if row.collection == "own"}
    known = own_images(engine, list(listed)) if listed else {}
    elsewhere = {product_id: url for product_id, url in known.items() if url != listed[product_id]}
    gone = gone_files(elsewhere.values())
    return tuple(product_id for product_id, url in elsewhere.items() if url in gone)


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
