"""Ingest: what archives list that they did not list before becomes a run. No Celery in it."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Literal, cast

import sqlalchemy as sa

from db import classifiers, ledger
from db.ledger import Found, Ingested, ListedFile, NewRun, ProductRow, Run
from pds.archive import Archive, resolve
from pds.conditional import FileVersion, Revisit
from pds.fetch import Fetcher
from pds.listing import list_products
from pds.selection import LeftOutReason, Selection
from worker.listing import Tally, to_row

log = logging.getLogger(__name__)

BUSY = "Another ingest is at work, so this one does nothing."
UNCHANGED = "No listing has changed since the last look, so nothing is new."

PASSING = (LeftOutReason.LABEL_NOT_FOUND, LeftOutReason.UNREADABLE_LABEL)


@dataclass(frozen=True, slots=True)
class Report:
    """What an ingest came to: the run of what is new, None without; how many products were marked
    as withdrawn; and all that in a sentence."""

    run: Run | None
    withdrawn: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Visit:
    """An archive, and where its listing gets its files from."""

    archive: Archive
    files: Revisit

    def listed_files(self) -> tuple[ListedFile, ...]:
        """The files looked at so far, as the ledger keeps them."""
        versions = self.files.versions.values()
        return tuple(ListedFile(self.archive.url, **asdict(version)) for version in versions)


def ingest(engine: sa.Engine, wanted: NewRun, fetcher: Fetcher) -> Report:
    """Make a run of what the archives of `wanted` have new under the current classifier.

    An archive whose tables are as they were at the last ingest is not listed; a plain folder always
    is, and so is a PDS4 collection of which labels were missing then. Of several ingests at once,
    one does the work. Nothing is kept of one that fails, so the next finds the same. Raises
    `PdsError` when an archive cannot be listed, `ListingRefused`, and `UnknownClassifier` when none
    is current.
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
            visit = Visit(archive, stack.enter_context(Revisit(fetcher, _versions(known))))
            if visit.files.is_unchanged():
                ledger.note_unchanged(engine, sha256, wanted.products, visit.listed_files())
            else:
                changed.append(visit)
        if not changed:
            return Report(None, 0, UNCHANGED)
        return _take_up(engine, wanted, changed)


def _take_up(engine: sa.Engine, wanted: NewRun, changed: list[Visit]) -> Report:
    tally = Tally()
    rows: list[ProductRow] = []
    files: list[ListedFile] = []
    for visit in changed:
        doubts = _doubts(tally)
        rows += _rows(visit, wanted, tally)
        if _doubts(tally) == doubts:  # else the next look has to read all of it again
            files += visit.listed_files()
    found = Found(
        sources=tuple(visit.archive.url for visit in changed),
        files=tuple(files),
        rows_read=tally.rows,
        left_out=tally.left_out(),
    )
    recorded = ledger.record_new(engine, wanted, rows, found)
    return Report(recorded.run, recorded.withdrawn, _sentence(recorded))


def _rows(visit: Visit, wanted: NewRun, tally: Tally) -> Iterator[ProductRow]:
    selection = Selection(cast("Literal['edr', 'rdr', 'any']", wanted.products))
    before = tally.rows

    def count(rows: int) -> None:
        tally.rows = before + rows

    yield from map(
        to_row, list_products([visit.archive], selection, visit.files, tally.leave_out, count)
    )


def _doubts(tally: Tally) -> int:
    """How many products were left out for a label that may be there the next time."""
    return sum(tally.counts.get(reason, 0) for reason in PASSING)


def _versions(known: Iterable[ListedFile]) -> Iterator[FileVersion]:
    for file in known:
        yield FileVersion(file.url, file.etag, file.last_modified, file.sha256)


def _sentence(recorded: Ingested) -> str:
    new = (
        f"Run {recorded.run.run_id} takes up {recorded.new} new products"
        if recorded.run
        else "The listing has changed, but nothing in it is new"
    )
    return f"{new}; {recorded.withdrawn} listed before are withdrawn."
