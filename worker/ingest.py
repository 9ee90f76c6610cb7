"""Ingest: what archives list that they did not list before becomes a run. No Celery in it."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Literal, cast

import sqlalchemy as sa

from mernet.db import classifiers, ledger
from mernet.db.ledger import (
    Found,
    Harvested,
    Ingested,
    LeftOutCount,
    ListedFile,
    NewRun,
    ProductRow,
    Run,
)
from mernet.pds.archive import Archive, resolve
from mernet.pds.changes import ChangeDetector, FileVersion
from mernet.pds.errors import BadNameError, PdsError
from mernet.pds.fetch import Fetcher
from mernet.pds.listing import list_products
from mernet.pds.members import TRANSIENT_REASONS
from mernet.pds.product import ProductName
from mernet.pds.registry import HarvestCursor
from mernet.pds.selection import LeftOut, Selection
from mernet.worker.errors import ArchivesNotListed
from mernet.worker.listing import Tally, to_row

log = logging.getLogger(__name__)

BUSY = "Another ingest is at work, so this one does nothing."
UNCHANGED = "No listing has changed since the last look, so nothing is new."
OTHERS_UNCHANGED = "No listing that could be read has changed since the last look."


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an ingest came to: the run of what is new, None without; how many products were marked
    as withdrawn; and all that in a sentence.

    `failure` is another sentence, on the archives that could not be listed; None without any.
    """

    run: Run | None
    withdrawn: int
    sentence: str
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """What an archive lists that has changed, and what it was read from.

    `source` is the archive's URL, `harvest` tells how far a search was read, `doubtful` are the
    names left out for a reason that is passing.
    """

    source: str
    rows: Sequence[ProductRow]
    tally: Tally
    doubtful: Sequence[str]
    files: Sequence[ListedFile]
    harvest: HarvestCursor


def ingest(
    engine: sa.Engine, wanted: NewRun, fetcher: Fetcher, withdraw_many: bool = False
) -> IngestReport:
    """Make a run of what the archives of `wanted` have new under the current classifier.

    An archive whose tables are as they were at the last ingest is not listed; a plain folder always
    is, and so is a PDS4 collection of which a label was missing or not readable then, even if it
    never will be. A registry search is asked for what was harvested since the last ingest, or since
    the first product with such a label; it tells of no withdrawal. Of an archive that cannot be
    listed nothing is kept, and the others are taken up. Of several ingests at once, one does the
    work. Nothing is kept of one that fails, so the next finds the same. Raises `ArchivesNotListed`
    when none could be listed, `ListingRefused` as `record_new` does with `withdraw_many`, and
    `UnknownClassifier` when none is current.
    """
    report = IngestReport(None, 0, BUSY)
    with ledger.exclusive(engine, "ingest") as alone:
        if alone:
            report = _ingest(engine, wanted, fetcher, withdraw_many)
    log.info("%s", report.sentence)
    return report


def _ingest(
    engine: sa.Engine, wanted: NewRun, fetcher: Fetcher, withdraw_many: bool
) -> IngestReport:
    sha256 = classifiers.current(engine).sha256
    looks: dict[str, Listing | None] = {}
    failures: list[str] = []
    for name in wanted.archives:
        try:
            archive = resolve(name, wanted.mirror)
            if archive.url not in looks:
                looks[archive.url] = _look(engine, sha256, archive, wanted, fetcher)
        except PdsError as error:
            failures.append(str(error))
    if not looks:
        raise ArchivesNotListed("; ".join(failures))
    changed = [listing for listing in looks.values() if listing]
    if changed:
        report = _take_up(engine, wanted, changed, withdraw_many)
    else:
        report = IngestReport(None, 0, OTHERS_UNCHANGED if failures else UNCHANGED)
    return replace(report, failure=_failure(failures, len(looks) + len(failures)))


def _look(
    engine: sa.Engine, sha256: str, archive: Archive, wanted: NewRun, fetcher: Fetcher
) -> Listing | None:
    """What an archive lists; None if that has not changed since the last look."""
    known = ledger.known_files(engine, sha256, archive.url, wanted.products)
    with ChangeDetector(fetcher, _versions(known)) as files:
        if files.is_unchanged():
            ledger.note_unchanged(engine, sha256, wanted.products, _listed_files(archive, files))
            return None
        since = ledger.harvested_to(engine, sha256, archive.url, wanted.products)
        return _list(archive, wanted, files, HarvestCursor(since))


def _list(
    archive: Archive, wanted: NewRun, files: ChangeDetector, harvest: HarvestCursor
) -> Listing:
    selection = Selection(cast("Literal['edr', 'rdr', 'any']", wanted.products))
    tally = Tally()
    doubtful: list[str] = []

    def leave_out(left_out: LeftOut) -> None:
        tally.leave_out(left_out)
        if left_out.reason in TRANSIENT_REASONS:
            doubtful.append(left_out.name)

    def count(rows: int) -> None:
        tally.rows = rows

    products = list_products([archive], selection, files, leave_out, count, harvest)
    rows = [to_row(product) for product in products]
    return Listing(archive.url, rows, tally, doubtful, _listed_files(archive, files), harvest)


def _take_up(
    engine: sa.Engine, wanted: NewRun, changed: Sequence[Listing], withdraw_many: bool
) -> IngestReport:
    rows = chain.from_iterable(listing.rows for listing in changed)
    found = _found(changed)
    recorded = ledger.record_new(engine, wanted, rows, found, withdraw_many)
    return IngestReport(recorded.run, recorded.withdrawn, _sentence(recorded, found))


def _found(changed: Sequence[Listing]) -> Found:
    return Found(
        sources=tuple(each.source for each in changed if each.harvest.up_to is None),
        # With a name in doubt, the next look has to read all of it again.
        files=tuple(file for each in changed if not each.doubtful for file in each.files),
        rows_read=sum(each.tally.rows for each in changed),
        left_out=_left_out(changed),
        harvested=tuple(
            Harvested(each.source, each.harvest.since, each.harvest.up_to)
            for each in changed
            if each.harvest.up_to
        ),
        doubtful=tuple(_product_ids(chain.from_iterable(each.doubtful for each in changed))),
    )


def _left_out(changed: Iterable[Listing]) -> Mapping[str, LeftOutCount]:
    """What all the listings left out, by reason."""
    total: dict[str, LeftOutCount] = {}
    for listing in changed:
        for reason, more in listing.tally.left_out().items():
            so_far = total.get(reason, LeftOutCount(0, ()))
            total[reason] = LeftOutCount(so_far.count + more.count, so_far.examples + more.examples)
    return total


def _product_ids(names: Iterable[str]) -> Iterator[str]:
    """The ids that file names and LIDs spell; a label without an image may have any name."""
    for name in names:
        with suppress(BadNameError):
            yield str(ProductName.parse(name))


def _listed_files(archive: Archive, files: ChangeDetector) -> list[ListedFile]:
    """The files looked at so far, as the ledger keeps them."""
    return [ListedFile(archive.url, **asdict(version)) for version in files.versions.values()]


def _versions(known: Iterable[ListedFile]) -> Iterator[FileVersion]:
    for file in known:
        yield FileVersion(file.url, file.etag, file.last_modified, file.sha256)


def _failure(failures: Sequence[str], asked: int) -> str | None:
    if not failures:
        return None
    return f"{len(failures)} of {asked} archives could not be listed: {'; '.join(failures)}"


def _sentence(recorded: Ingested, found: Found) -> str:
    if recorded.run:
        new = f"Run {recorded.run.run_id} takes up {recorded.new} new products"
    elif found.sources:
        new = "Nothing that is listed is new"
    else:
        new = "The registry search finds nothing new"
    if recorded.withdrawn:
        new += f"; {recorded.withdrawn} listed before are withdrawn"
    return f"{new}."
