"""Ingest: what archives list that they did not list before becomes a run. No Celery in it."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Literal, cast

import sqlalchemy as sa

from db import classifiers, ledger
from db.ledger import Found, Harvested, Ingested, ListedFile, NewRun, ProductRow, Run
from pds.archive import Archive, resolve
from pds.conditional import FileVersion, Revisit
from pds.fetch import Fetcher
from pds.listing import list_products
from pds.members import PASSING
from pds.registry import Harvest
from pds.selection import Selection
from worker.listing import Tally, to_row

log = logging.getLogger(__name__)

BUSY = "Another ingest is at work, so this one does nothing."
UNCHANGED = "No listing has changed since the last look, so nothing is new."


@dataclass(frozen=True, slots=True)
class Report:
    """What an ingest came to: the run of what is new, None without; how many products were marked
    as withdrawn; and all that in a sentence."""

    run: Run | None
    withdrawn: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Visit:
    """An archive, where its listing gets its files from, and how far a search has been read."""

    archive: Archive
    files: Revisit
    harvest: Harvest

    def listed_files(self) -> tuple[ListedFile, ...]:
        """The files looked at so far, as the ledger keeps them."""
        versions = self.files.versions.values()
        return tuple(ListedFile(self.archive.url, **asdict(version)) for version in versions)


def ingest(engine: sa.Engine, wanted: NewRun, fetcher: Fetcher) -> Report:
    """Make a run of what the archives of `wanted` have new under the current classifier.

    An archive whose tables are as they were at the last ingest is not listed; a plain folder always
    is, and so is a PDS4 collection of which labels were missing then. A registry search is asked
    for what was harvested since the last ingest, or since the first product whose label was missing
    then; it tells of no withdrawal. Of several ingests at once, one does the work. Nothing is kept
    of one that fails, so the next finds the same. Raises `PdsError` when an archive cannot be
    listed, `ListingRefused`, and `UnknownClassifier` when none is current.
    """
    with ledger.exclusive(engine, "ingest") as alone:
        report = _ingest(engine, wanted, fetcher) if alone else Report(None, 0, BUSY)
    log.info("%s", report.sentence)
    return report


def _ingest(engine: sa.Engine, wanted: NewRun, fetcher: Fetcher) -> Report:
    sha256 = classifiers.current(engine).sha256
    archives = {each.url: each for each in (resolve(n, wanted.mirror) for n in wanted.archives)}
    with ExitStack() as stack:
        changed = []
        for archive in archives.values():
            known = ledger.known_files(engine, sha256, archive.url, wanted.products)
            since = ledger.harvested_to(engine, sha256, archive.url, wanted.products)
            files = stack.enter_context(Revisit(fetcher, _versions(known)))
            visit = Visit(archive, files, Harvest(since))
            if visit.files.is_unchanged():
                ledger.note_unchanged(engine, sha256, wanted.products, visit.listed_files())
            else:
                changed.append(visit)
        if not changed:
            return Report(None, 0, UNCHANGED)
        return _take_up(engine, wanted, sha256, changed)


def _take_up(engine: sa.Engine, wanted: NewRun, sha256: str, changed: list[Visit]) -> Report:
    tally = Tally()
    rows: list[ProductRow] = []
    files: list[ListedFile] = []
    for visit in changed:
        doubts = _doubts(tally)
        rows += _rows(visit, wanted, tally)
        if _doubts(tally) == doubts:  # else the next look has to read all of it again
            files += visit.listed_files()
    up_to = {visit.archive.url: visit.harvest.up_to for visit in changed}
    found = Found(
        sources=tuple(url for url, time in up_to.items() if time is None),
        files=tuple(files),
        rows_read=tally.rows,
        left_out=tally.left_out(),
        harvested=tuple(Harvested(url, sha256, time) for url, time in up_to.items() if time),
    )
    recorded = ledger.record_new(engine, wanted, rows, found)
    return Report(recorded.run, recorded.withdrawn, _sentence(recorded, found))


def _rows(visit: Visit, wanted: NewRun, tally: Tally) -> Iterator[ProductRow]:
    selection = Selection(cast("Literal['edr', 'rdr', 'any']", wanted.products))
    before = tally.rows

    def count(rows: int) -> None:
        tally.rows = before + rows

    products = list_products(
        [visit.archive], selection, visit.files, tally.leave_out, count, visit.harvest
    )
    yield from map(to_row, products)


def _doubts(tally: Tally) -> int:
    """How many products were left out for a label that may be there the next time."""
    return sum(tally.counts.get(reason, 0) for reason in PASSING)


def _versions(known: Iterable[ListedFile]) -> Iterator[FileVersion]:
    for file in known:
        yield FileVersion(file.url, file.etag, file.last_modified, file.sha256)


def _sentence(recorded: Ingested, found: Found) -> str:
    if recorded.run:
        new = f"Run {recorded.run.run_id} takes up {recorded.new} new products"
    elif found.sources:
        new = "The listing has changed, but nothing in it is new"
    else:
        new = "The registry search finds nothing new"
    return f"{new}; {recorded.withdrawn} listed before are withdrawn."
