"""Ingest: creates a run over what archives list as new. It does not use Celery."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial, reduce
from itertools import chain
from typing import cast

import sqlalchemy as sa

from mernet.db import classifiers, ledger
from mernet.db.errors import ListingRefused, MayBeListed
from mernet.db.ledger import (
    Harvested,
    Ingested,
    ListedArchives,
    ListedFile,
    NewRun,
    ProductRow,
    Run,
    add_left_out,
)
from mernet.errors import MernetError
from mernet.pds.archive import Archive, resolve
from mernet.pds.changes import ChangeDetector, FileVersion
from mernet.pds.completeness import CompletenessCheck
from mernet.pds.errors import PdsError
from mernet.pds.fetch import Fetcher
from mernet.pds.listing import list_products
from mernet.pds.registry import HarvestCursor
from mernet.pds.selection import LeftOut, ProductKind, Selection
from mernet.printable import LONGEST_DETAIL, printable
from mernet.worker.archive_hosts import (
    HostRules,
    clear_host,
    host_of,
    report_host,
    require_hosts,
)
from mernet.worker.doubts import Doubts
from mernet.worker.errors import ArchivesNotListed, HostDown, ListingTooLarge, MustWait
from mernet.worker.faults import is_fault
from mernet.worker.held_lock import hold_lock
from mernet.worker.listing import Tally, memory_for, moved_own_images, to_row
from mernet.worker.listing_source import hosts_of, listing_source, why_archives_fail

log = logging.getLogger(__name__)

UNCHANGED = "No listing has changed since the last check; nothing is new."
OTHERS_UNCHANGED = "No listing that could be read has changed since the last check."


@dataclass(frozen=True, slots=True)
class IngestReport:
    """The result of an ingest.

    Attributes:
        run: The run over the new products, None if nothing is new.
        withdrawn: How many products were marked as withdrawn.
        sentence: The result in one sentence.
        not_listed: Which archives could not be listed and why, None if all could.
    """

    run: Run | None
    withdrawn: int
    sentence: str
    not_listed: ArchivesNotListed | None = None

    @property
    def failure(self) -> str | None:
        """A sentence about the archives that could not be listed, None if all could."""
        return str(self.not_listed) if self.not_listed else None


@dataclass(frozen=True, slots=True)
class ChangedListing:
    """The listing of an archive that has changed since the last check.

    Attributes:
        source: The archive's own URL.
        rows: The eligible products.
        tally: What was read and left out.
        doubts: What was left out although the archive may list it.
        files: The versions of the files that were read.
        harvest: How far a registry search was read.
        is_short: Whether it ends before its label says, and was accepted: what it does not list is
            not withdrawn.
        is_mirrored: Whether it was read at a mirror, which may lag behind: what it does not list is
            not withdrawn.
    """

    source: str
    rows: Sequence[ProductRow]
    tally: Tally
    doubts: Doubts
    files: Sequence[ListedFile]
    harvest: HarvestCursor
    is_short: bool
    is_mirrored: bool

    @property
    def is_complete(self) -> bool:
        """Whether all that the archive lists was read, not only what was harvested since."""
        return self.harvest.up_to is None and not self.is_short

    @property
    def is_to_be_read_again(self) -> bool:
        """Whether the next check reads the listing again, though it may not have changed."""
        return self.doubts.may_pass or self.is_short


@dataclass(slots=True)
class ArchiveCheck:
    """Lists archives one by one as far as they have changed; notes those that cannot be listed.

    Attributes:
        engine: The ledger.
        wanted: The archives, and which of their products.
        fetcher: Fetches the listings.
        rules: How archive hosts are treated.
        is_scheduled: Whether the check is made again later by itself, so that a host that is known
            to be down is asked only when its next try is due.
        on_wait: Told once that all connections to a host are in use. None for a check that is made
            again later by itself.
        listings: The archives that could be listed by their own URLs; None for unchanged ones.
        errors: Why archives could not be listed.
        waits: What they wait for.
    """

    engine: sa.Engine
    wanted: NewRun
    fetcher: Fetcher
    rules: HostRules
    is_scheduled: bool
    on_wait: Callable[[MustWait], None] | None
    listings: dict[str, ChangedListing | None] = field(default_factory=dict)
    errors: list[MernetError] = field(default_factory=list)
    waits: list[MustWait] = field(default_factory=list)
    _archives: dict[str, Archive] = field(default_factory=dict)
    _down: dict[str | None, HostDown] = field(default_factory=dict)

    def list_all(self) -> None:
        """List all archives as far as they have changed."""
        sha256 = classifiers.current(self.engine).sha256
        for name in self.wanted.archives:
            with self._noting_errors(), memory_for(name):
                archive = resolve(name, self.wanted.mirror)
                if archive.source not in self.listings:
                    self._list_if_host_answers(archive, partial(self._list_if_changed, sha256))

    def list_rest(self) -> None:
        """List in full those archives that were not read, or only as far as they have changed."""
        for source in self.unread():
            del self.listings[source]
            with self._noting_errors(), memory_for(source):
                self._list_if_host_answers(self._archives[source], self._list_in_full)

    def unread(self) -> list[str]:
        """Return the archives that may list more than what was read."""
        return [
            source
            for source, listing in self.listings.items()
            if listing is None or listing.harvest.since is not None
        ]

    def changed(self) -> list[ChangedListing]:
        """Return the listings of the archives that have changed."""
        return [listing for listing in self.listings.values() if listing]

    def refuse(self, error: ListingRefused) -> None:
        """Note that the ledger refuses what an archive lists."""
        del self.listings[str(error.source)]
        self.errors.append(error)

    def not_listed(self) -> ArchivesNotListed | None:
        """Return which archives could not be listed and why; None if all could."""
        if not self.errors:
            return None
        asked = len(self.listings) + len(self.errors)
        causes = dict.fromkeys(printable(error, LONGEST_DETAIL) for error in self.errors)
        why = "; ".join(causes)
        of_all = f"{len(self.errors)} of {asked} archives could not be listed: "
        return ArchivesNotListed(
            f"{of_all if self.listings else ''}{why}", tuple(self.errors), tuple(self.waits)
        )

    @contextmanager
    def _noting_errors(self) -> Iterator[None]:
        """Note the error of an archive that cannot be listed; raise a fault of this machine."""
        try:
            yield
        except (HostDown, ListingTooLarge, MustWait, PdsError) as error:
            if is_fault(error):
                raise
            self.errors.append(error)

    def _list_if_host_answers(
        self, archive: Archive, list_archive: Callable[[Archive], ChangedListing | None]
    ) -> None:
        """Put what `list_archive` returns into `listings`, unless the archive's host is down."""
        host = host_of(archive.url)
        if host in self._down:
            raise self._down[host]
        try:
            require_hosts(
                self.engine,
                hosts_of([archive]),
                self.rules,
                lambda host: why_archives_fail(self.engine, [archive], self.fetcher, host),
                is_asked_for=not self.is_scheduled,
            )
            listing = list_archive(archive)
        except HostDown as down:
            if is_fault(down):
                raise
            self._down[down.host] = down
            self.waits.append(report_host(self.engine, down, self.rules))
            raise
        except MustWait as waiting:
            self.waits.append(waiting)
            raise
        clear_host(self.engine, host)
        self._archives[archive.source] = archive
        self.listings[archive.source] = listing

    def _list_if_changed(self, sha256: str, archive: Archive) -> ChangedListing | None:
        """List an archive; return None if its tables have not changed since the last check."""
        engine, products = self.engine, self.wanted.products
        known = ledger.known_files(engine, sha256, archive.source, products)
        with self._files(archive, _to_file_versions(archive, known)) as files:
            if files.is_unchanged():
                ledger.note_unchanged(engine, sha256, products, _listed_files(archive, files))
                return None
            since = ledger.harvested_to(engine, sha256, archive.source, products)
            return _list_archive(archive, self.wanted, files, HarvestCursor(since))

    def _list_in_full(self, archive: Archive) -> ChangedListing:
        """List an archive, whatever is known of it."""
        with self._files(archive, ()) as files:
            return _list_archive(archive, self.wanted, files, HarvestCursor(None))

    @contextmanager
    def _files(self, archive: Archive, known: Iterable[FileVersion]) -> Iterator[ChangeDetector]:
        """Connect to an archive, whose files had these versions at the last check."""
        with (
            listing_source(
                self.engine, [archive], self.fetcher, self.rules, None, lambda: True, self.on_wait
            ) as source,
            ChangeDetector(source, known) as files,
        ):
            yield files


def ingest(
    engine: sa.Engine,
    wanted: NewRun,
    fetcher: Fetcher,
    withdraw_many: bool = False,
    rules: HostRules | None = None,
    is_scheduled: bool = False,
    on_wait: Callable[[MustWait], None] | None = None,
) -> IngestReport:
    """Create a run over the products that archives list as new under the current classifier.

    - An archive whose tables have not changed since the last ingest is not listed. These are always
      listed: a plain folder, and a PDS4 collection with a label that was missing or unreadable at
      the last ingest, even if it never becomes readable.
    - A registry search is asked for the products harvested since the last ingest, or since the
      first product with such a label. It does not report withdrawals.
    - A mirror may lag behind its archive, so what it does not list is not withdrawn.
    - If an archive withdraws products, the others are listed in full, since they may list these.
    - If an archive cannot be listed, or lists far fewer products than before, nothing about it is
      stored, and the others are ingested.
    - Only one ingest runs at a time. One that was stopped for long has lost its turn: it changes
      nothing.
    - If an ingest fails, nothing is stored, so the next one finds the same products.

    Args:
        engine: The ledger.
        wanted: The archives, and which of their products.
        fetcher: Fetches the listings.
        withdraw_many: Whether many products at once may be marked as withdrawn.
        rules: How archive hosts are treated; None for the defaults.
        is_scheduled: As in `ArchiveCheck`.
        on_wait: As in `ArchiveCheck`.

    Raises:
        ArchivesNotListed: If none of the archives could be listed.
        TooManyWithdrawn: If the only archive lists far fewer products than before; see
            `record_new`.
        ListingRefused: If the only archive lists a product that breaks a rule.
        UnknownClassifier: If no classifier is current.
        LockHeld: If another ingest is running.
        LockLost: If another ingest has taken over, since this one was stopped for too long.
    """
    check = ArchiveCheck(engine, wanted, fetcher, rules or HostRules(), is_scheduled, on_wait)
    with hold_lock(engine, ledger.INGEST_LOCK) as holder:
        check.list_all()
        report = _record(check, withdraw_many, holder)
    log.info("%s", report.sentence)
    return report


def _record(check: ArchiveCheck, withdraw_many: bool, holder: str) -> IngestReport:
    """Record what has changed; without the archives whose listings the ledger refuses."""
    while changed := check.changed():
        try:
            report = _record_changes(check, changed, withdraw_many, holder)
        except ListingRefused as error:
            if len(check.wanted.archives) == 1 or error.source not in check.listings:
                raise
            check.refuse(error)
        except MayBeListed:
            check.list_rest()
        else:
            return replace(report, not_listed=check.not_listed())
    not_listed = check.not_listed()
    if not_listed and not check.listings:
        raise not_listed
    return IngestReport(None, 0, OTHERS_UNCHANGED if not_listed else UNCHANGED, not_listed)


def _list_archive(
    archive: Archive, wanted: NewRun, files: ChangeDetector, harvest: HarvestCursor
) -> ChangedListing:
    selection = Selection(cast("ProductKind", wanted.products))
    tally = Tally()
    doubts = Doubts(archive.kind)

    def leave_out(left_out: LeftOut) -> None:
        tally.leave_out(left_out)
        doubts.note(left_out)

    def count(rows: int) -> None:
        tally.rows = rows

    completeness = CompletenessCheck(wanted.accept_short_listing)
    products = list_products([archive], selection, files, leave_out, count, harvest, completeness)
    rows = [to_row(product) for product in products]
    return ChangedListing(
        archive.source,
        rows,
        tally,
        doubts,
        _listed_files(archive, files),
        harvest,
        completeness.is_short,
        bool(archive.mirror),
    )


def _record_changes(
    check: ArchiveCheck, changed: Sequence[ChangedListing], withdraw_many: bool, holder: str
) -> IngestReport:
    rows = list(chain.from_iterable(listing.rows for listing in changed))
    found = replace(
        _combine_listings(changed, withdraw_many),
        unread=tuple(check.unread()),
        moved=moved_own_images(check.engine, rows),
    )
    recorded = ledger.record_new(check.engine, check.wanted, rows, found, withdraw_many, holder)
    return IngestReport(recorded.run, recorded.withdrawn, _result_sentence(recorded, found))


def _combine_listings(changed: Sequence[ChangedListing], withdraw_many: bool) -> ListedArchives:
    """Combine the listings into what the ledger records besides the products."""
    complete = [each for each in changed if _may_withdraw(each, withdraw_many)]
    return ListedArchives(
        sources=tuple(each.source for each in complete if not each.is_mirrored),
        mirrored=tuple(each.source for each in complete if each.is_mirrored),
        files=tuple(
            file for each in changed if not each.is_to_be_read_again for file in each.files
        ),
        rows_read=sum(each.tally.rows for each in changed),
        left_out=reduce(add_left_out, (each.tally.left_out() for each in changed)),
        harvested=tuple(
            Harvested(each.source, each.harvest.since, each.harvest.up_to)
            for each in changed
            if each.harvest.up_to
        ),
        doubtful=tuple(chain.from_iterable(each.doubts.product_ids for each in changed)),
    )


def _may_withdraw(listing: ChangedListing, withdraw_many: bool) -> bool:
    """Return whether what a listing does not list has left the archive.

    A row that cannot be read may be of any product, so without the operator's word nothing is
    withdrawn then.
    """
    unknown = listing.doubts.unknown
    if listing.is_complete and unknown and not withdraw_many:
        log.warning(
            "%s lists %d products whose names cannot be read, so no product is marked as "
            "withdrawn: it may be one of these",
            printable(listing.source),
            unknown,
        )
        return False
    return listing.is_complete


def _listed_files(archive: Archive, files: ChangeDetector) -> list[ListedFile]:
    """Convert the file versions read so far to what the ledger stores: the archive's own URLs."""
    return [
        ListedFile(archive.source, **asdict(version) | {"url": archive.own_url(version.url)})
        for version in files.versions.values()
    ]


def _to_file_versions(archive: Archive, known: Iterable[ListedFile]) -> Iterator[FileVersion]:
    for file in known:
        yield FileVersion(archive.url_to_read(file.url), file.etag, file.last_modified, file.sha256)


def _result_sentence(recorded: Ingested, found: ListedArchives) -> str:
    if recorded.run:
        new = f"Run {recorded.run.run_id} contains {recorded.new} new products"
    elif found.harvested and not found.sources:
        new = "The registry search found nothing new"
    else:
        new = "No listed product is new"
    if recorded.withdrawn:
        new += f"; {recorded.withdrawn} marked as withdrawn"
    return f"{new}."
