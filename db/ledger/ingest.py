"""Ingest: what a listing has new becomes a run, and what it has lost is marked as withdrawn."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import IO

import sqlalchemy as sa

from mernet.db import classifiers
from mernet.db import products as product_table
from mernet.db.engine import transaction
from mernet.db.ledger.listing import left_out_as_json
from mernet.db.ledger.members import enrol
from mernet.db.ledger.runs import (
    LeftOutCount,
    NewRun,
    Run,
    RunKind,
    RunState,
    insert_run,
    read_run,
)
from mernet.db.ledger.withdrawals import count_listed, refuse_many, withdraw
from mernet.db.rows import ProductRow
from mernet.db.tables import listing_state

# So that a run which ends meanwhile, its work undone, forgets afterwards what is known of listings.
HOLD_OPEN_RUNS = sa.text("""
SELECT run_id FROM run
WHERE classifier = :classifier AND finished_at IS NULL
ORDER BY run_id FOR SHARE
""")

# What is settled, what another run has in hand, what a version from another archive supersedes.
LEAVE_WHAT_IS_NOT_NEW = sa.text("""
DELETE FROM listed WHERE product_id IN (
    SELECT product_id FROM outcome WHERE classifier = :classifier
    UNION ALL
    SELECT run_product.product_id FROM run_product JOIN run USING (run_id)
    WHERE run.classifier = :classifier AND run.finished_at IS NULL
    UNION ALL
    SELECT product.product_id FROM product JOIN product AS newer USING (name_key)
    WHERE newer.version > product.version AND newer.withdrawn_at IS NULL
)
""")

COUNT_NEW = sa.text("SELECT count(DISTINCT product_id) FROM listed")


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A version of a file (table, label, inventory) that the listing of `source` was read from.

    `etag` and `last_modified` are the server's headers, None without; `sha256` is hex.
    """

    source: str
    url: str
    etag: str | None
    last_modified: str | None
    sha256: str


@dataclass(frozen=True, slots=True)
class Harvested:
    """A search of which was listed what was harvested at `since` or later, None for all.

    `source` is the archive's URL, `up_to` the harvest time at which the next look begins.
    """

    source: str
    since: datetime | None
    up_to: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """What the listings of some archives that had changed hold.

    `sources` are the URLs of archives that were listed whole, `files` what they were listed from,
    `rows_read` and `left_out` as a run keeps them. `harvested` are the archives of which was listed
    only what is new, `doubtful` the ids of products that are listed and were left out because their
    label could not be had, so that they are not withdrawn.
    """

    sources: tuple[str, ...]
    files: tuple[ListedFile, ...]
    rows_read: int
    left_out: Mapping[str, LeftOutCount]
    harvested: tuple[Harvested, ...] = ()
    doubtful: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of a listing: the run of what is new, None without; how many products that are,
    and how many were marked as withdrawn."""

    run: Run | None
    new: int
    withdrawn: int


_COLUMNS = tuple(listing_state.c[name] for name in ListedFile.__dataclass_fields__)


@transaction
def known_files(
    connection: sa.Connection, classifier_sha256: str, source: str, products: str
) -> list[ListedFile]:
    """The files whose products have all been taken up under a classifier; empty before the first.

    `products` is 'edr', 'rdr' or 'any', as the source was listed.
    """
    state = listing_state.c
    rows = connection.execute(
        sa.select(*_COLUMNS).where(
            state.classifier == classifier_sha256,
            state.source == source,
            state.products == products,
            state.sha256.is_not(None),
        )
    )
    return [ListedFile(*row) for row in rows]


@transaction
def harvested_to(
    connection: sa.Connection, classifier_sha256: str, source: str, products: str
) -> datetime | None:
    """The harvest time at which another look at a search begins; None before the first look.

    The arguments are those of `known_files`.
    """
    state = listing_state.c
    return connection.scalar(
        sa.select(state.harvested_to).where(
            state.classifier == classifier_sha256,
            state.source == source,
            state.products == products,
            state.harvested_to.is_not(None),
        )
    )


@transaction
def note_unchanged(
    connection: sa.Connection, classifier_sha256: str, products: str, files: Iterable[ListedFile]
) -> None:
    """Keep when these known files were looked at, and what their server calls them now."""
    state = listing_state.c
    for file in files:
        connection.execute(
            sa.update(listing_state)
            .where(
                state.classifier == classifier_sha256,
                state.products == products,
                state.source == file.source,
                state.url == file.url,
            )
            .values(etag=file.etag, last_modified=file.last_modified, checked_at=sa.func.now())
        )


def record_new(
    engine: sa.Engine,
    wanted: NewRun,
    products: Iterable[ProductRow],
    found: Found,
    withdraw_many: bool = False,
) -> Ingested:
    """Take up the listings of `found`, all in one transaction.

    Products are written or brought up to date; those of `found.sources` that are listed no more are
    marked as withdrawn, but none of `found.harvested`. A run of kind 'new', its chunks ready, holds
    those without an outcome under the current classifier that no open run under it has, and that no
    newer version supersedes; without any there is no run. The files and times count as known.
    Repeated, it finds nothing new.
    Raises `ListingRefused`, also where a source would lose more than `refuse_many` believes, unless
    `withdraw_many`; `RunRefused`; and `UnknownClassifier` when none is current.
    """
    with product_table.spooled(products) as listing:
        return _record(engine, wanted, listing, found, withdraw_many)


@transaction
def _record(
    connection: sa.Connection,
    wanted: NewRun,
    listing: IO[str],
    found: Found,
    withdraw_many: bool,
) -> Ingested:
    current = classifiers.current_in(connection).sha256
    connection.execute(HOLD_OPEN_RUNS, {"classifier": current})
    listed_before = count_listed(connection, found.sources, wanted.products)
    product_table.merge(connection, listing)
    withdrawn = withdraw(connection, found.sources, wanted.products, found.doubtful)
    if not withdraw_many:
        refuse_many(withdrawn, listed_before)
    connection.execute(LEAVE_WHAT_IS_NOT_NEW, {"classifier": current})
    _replace_state(connection, current, wanted.products, found)
    new = connection.execute(COUNT_NEW).scalar_one()
    made = _make_run(connection, wanted, found) if new else None
    return Ingested(made, new, sum(withdrawn.values()))


def _make_run(connection: sa.Connection, wanted: NewRun, found: Found) -> Run:
    made = insert_run(
        connection,
        kind=RunKind.NEW,
        state=RunState.RUNNING,
        rows_read=found.rows_read,
        left_out=left_out_as_json(found.left_out),
        **asdict(wanted),
    )
    enrol(connection, made.run_id)
    return read_run(connection, made.run_id)


def _replace_state(
    connection: sa.Connection, classifier_sha256: str, products: str, found: Found
) -> None:
    key = {"classifier": classifier_sha256, "products": products}
    state = listing_state.c
    searched = [search.source for search in found.harvested]
    known = connection.execute(
        sa.delete(listing_state)
        .where(
            state.classifier == classifier_sha256,
            state.products == products,
            state.source.in_([*found.sources, *searched]),
        )
        .returning(state.source, state.harvested_to)
    )
    harvested_to = {row.source: row.harvested_to for row in known}
    files = [asdict(file) | key for file in found.files]
    searches = [
        {"source": search.source, "url": search.source, "harvested_to": search.up_to} | key
        for search in found.harvested
        # Else a classifier was promoted meanwhile, or a run ended undone: all is to be looked at.
        if search.since in (None, harvested_to.get(search.source))
    ]
    for rows in filter(None, (files, searches)):
        connection.execute(sa.insert(listing_state), rows)
