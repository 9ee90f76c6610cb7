"""Ingest: new products of a listing become a run, products no longer listed are withdrawn."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import IO

import sqlalchemy as sa

from mernet.db import classifiers
from mernet.db.engine import transaction
from mernet.db.errors import MayBeListed
from mernet.db.ledger.listed_table import Listed, list_file, spool
from mernet.db.ledger.locks import require_lock
from mernet.db.ledger.merging import Circumstances, merge_into_products
from mernet.db.ledger.run_products import enrol
from mernet.db.ledger.runs import (
    LeftOutCount,
    NewRun,
    Run,
    RunKind,
    RunState,
    insert_run,
    left_out_as_json,
    read_run,
)
from mernet.db.ledger.withdrawals import (
    count_listed,
    count_withdrawn,
    mirrors_that_differ,
    require_few_withdrawn,
    unmark_superseded,
    withdraw,
)
from mernet.db.products import ProductRow
from mernet.db.tables import listing_state
from mernet.printable import printable

INGEST_LOCK = "ingest"
"""The lock that an ingest holds from its first request to its end."""

# Keeps open runs as they are: a run that fails or is cancelled deletes the known listings, and has
# to do so after this transaction.
LOCK_OPEN_RUNS = sa.text("""
SELECT run_id FROM run
WHERE classifier = :classifier AND finished_at IS NULL
ORDER BY run_id FOR SHARE
""")

# Products that have an outcome, that an open run is still to classify, that are withdrawn (a mirror
# may list them still), or of which a higher version is listed; and a folder's images if another
# source has the product.
DELETE_WHAT_IS_NOT_NEW = sa.text("""
DELETE FROM listed WHERE product_id IN (
    SELECT product_id FROM outcome WHERE classifier = :classifier
    UNION ALL
    SELECT run_product.product_id FROM run_product JOIN run USING (run_id)
    WHERE run.classifier = :classifier AND run.finished_at IS NULL
      AND run_product.result IS NULL
    UNION ALL
    SELECT product_id FROM product WHERE withdrawn_at IS NOT NULL
    UNION ALL
    SELECT product.product_id FROM product JOIN product AS newer USING (name_key, collection)
    WHERE newer.version > product.version AND newer.withdrawn_at IS NULL
) OR (collection = 'own' AND NOT EXISTS (
    SELECT FROM product
    WHERE product.product_id = listed.product_id AND product.collection = 'own'
      AND (product.source = listed.source OR product.image_url = listed.image_url)
))
""")
# Outcomes that this transaction set aside, before the run that classifies anew had a number.
NAME_RUN_IN_HISTORY = sa.text("""
UPDATE outcome_history SET replaced_by = :run_id
WHERE replaced_by IS NULL AND replaced_at = now()
""")


@dataclass(frozen=True, slots=True)
class ListedFile:
    """One version of a file (table, label, inventory) from which a listing was read.

    Attributes:
        source: URL of the archive.
        url: URL of the file.
        etag: The server's ETag header, None without one.
        last_modified: The server's Last-Modified header, None without one.
        sha256: Hash of the file's bytes, in hex.
    """

    source: str
    url: str
    etag: str | None
    last_modified: str | None
    sha256: str


@dataclass(frozen=True, slots=True)
class Harvested:
    """A registry search that was listed from one harvest time on.

    Attributes:
        source: URL of the search.
        since: Products harvested at this time or later were listed; None if all were.
        up_to: The harvest time at which the next listing begins.
    """

    source: str
    since: datetime | None
    up_to: datetime


@dataclass(frozen=True, slots=True)
class ListedArchives:
    """The results of listing some archives, besides their products.

    Attributes:
        sources: URLs of the archives that were listed completely.
        files: The files from which they were listed.
        rows_read: Number of index rows read.
        left_out: How many products were left out, by reason.
        harvested: The searches of which only new products were listed.
        doubtful: Ids of products that are listed, but were left out because their label could not
            be read; they are not withdrawn.
        mirrored: URLs of the archives that were listed completely, but at a mirror. It may lag
            behind, so what it does not list is not withdrawn.
        moved: Ids of own images whose files are gone from where the product table has them.
        unread: URLs of other archives of the same check, which may list more than what was read.
    """

    sources: tuple[str, ...]
    files: tuple[ListedFile, ...]
    rows_read: int
    left_out: Mapping[str, LeftOutCount]
    harvested: tuple[Harvested, ...] = ()
    doubtful: tuple[str, ...] = ()
    mirrored: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ingested:
    """The result of an ingest.

    Attributes:
        run: The run over the new products, None if there are none.
        new: Number of new products.
        withdrawn: Number of products marked as withdrawn.
    """

    run: Run | None
    new: int
    withdrawn: int


_COLUMNS = tuple(listing_state.c[name] for name in ListedFile.__dataclass_fields__)


@transaction
def known_files(
    connection: sa.Connection, classifier_sha256: str, source: str, products: str
) -> list[ListedFile]:
    """Return the files whose products were ingested under a classifier; none before the first.

    Args:
        connection: The function's own transaction; callers pass the engine.
        classifier_sha256: The classifier of the ingest.
        source: URL of the archive.
        products: 'edr', 'rdr' or 'any', as the archive was listed.
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
    """Return the harvest time from which a search is to be listed, None for all of it.

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
    """Note that these known files were checked just now, and which headers their server sent."""
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
    found: ListedArchives,
    withdraw_many: bool = False,
    holder: str | None = None,
) -> Ingested:
    """Ingest listings, all in one transaction; repeated, it finds nothing new.

    Products are written or updated. Those that `found.sources` do not list any more are marked as
    withdrawn, unless another of the listings has them; `found.harvested` and `found.mirrored`
    withdraw none. New are the products without an outcome under the current classifier that no open
    run under it is still to classify, that are not withdrawn, and of which no newer version is
    listed. They become a run of kind 'new' whose chunks are ready. The files and
    harvest times are known afterwards.

    Args:
        engine: The ledger.
        wanted: The run to create.
        products: The listed products; read to their end before the transaction begins.
        found: The other results of the listings.
        withdraw_many: Also withdraw more than `require_few_withdrawn` allows.
        holder: Who has the lock `INGEST_LOCK`; None if no other ingest can run.

    Raises:
        LockLost: The holder has lost the lock to another ingest.
        ListingRefused: A product breaks a rule of the product table; the message names it.
        TooManyWithdrawn: An archive lost too many products.
        MayBeListed: Products would be withdrawn, and there are archives in `found.unread`.
        RunRefused: No run can have these values.
        UnknownClassifier: No classifier is current.
    """
    with spool(products) as listing:
        return _ingest_file(engine, wanted, listing, found, withdraw_many, holder)


@transaction
def _ingest_file(
    connection: sa.Connection,
    wanted: NewRun,
    listing: IO[str],
    found: ListedArchives,
    withdraw_many: bool,
    holder: str | None = None,
) -> Ingested:
    if holder is not None:
        require_lock(connection, INGEST_LOCK, holder)
    current = classifiers.current_in(connection).sha256
    connection.execute(LOCK_OPEN_RUNS, {"classifier": current})
    listed_before = count_listed(connection, found.sources, wanted.products)
    listed = list_file(connection, listing)
    at_mirror = wanted.mirror is not None
    how = Circumstances(None, wanted.publish_own, at_mirror, found.moved)
    merge_into_products(listed, how)
    withdrawn = withdraw(listed, found.sources, wanted.products, found.doubtful)
    if not withdraw_many:
        require_few_withdrawn(withdrawn, listed_before)
    if withdrawn:
        _require_nothing_unread(found)
        merge_into_products(listed, how)  # another source may list them
    unmark_superseded(connection, found.sources)
    searches = [search.source for search in found.harvested if at_mirror]
    differing = mirrors_that_differ(
        listed, found.mirrored, wanted.products, found.doubtful, searches
    )
    _replace_listing_state(connection, current, wanted.products, found, differing)
    _delete_what_is_not_new(listed, current)
    new = listed.count()
    run = _create_run(listed, wanted, found) if new else None
    return Ingested(run, new, count_withdrawn(connection, found.sources))


def _require_nothing_unread(found: ListedArchives) -> None:
    if found.unread:
        raise MayBeListed(
            "Products would be withdrawn that other archives may list "
            f"({printable(', '.join(found.unread))}); list these completely first."
        )


def _delete_what_is_not_new(listed: Listed, classifier_sha256: str) -> None:
    listed.connection.execute(DELETE_WHAT_IS_NOT_NEW, {"classifier": classifier_sha256})


def _create_run(listed: Listed, wanted: NewRun, found: ListedArchives) -> Run:
    created = insert_run(
        listed.connection,
        kind=RunKind.NEW,
        state=RunState.RUNNING,
        rows_read=found.rows_read,
        left_out=left_out_as_json(found.left_out),
        **asdict(wanted),
    )
    enrol(listed, created.run_id)
    listed.connection.execute(NAME_RUN_IN_HISTORY, {"run_id": created.run_id})
    return read_run(listed.connection, created.run_id)


def _replace_listing_state(
    connection: sa.Connection,
    classifier_sha256: str,
    products: str,
    found: ListedArchives,
    differing: Collection[str],
) -> None:
    """Store which files were read; not those of mirrors that list other than their archives did.

    If the archive itself lists the same, that changes products, so its files have to be read.
    """
    key = {"classifier": classifier_sha256, "products": products}
    state = listing_state.c
    searched = [search.source for search in found.harvested]
    known = connection.execute(
        sa.delete(listing_state)
        .where(
            state.classifier == classifier_sha256,
            state.products == products,
            state.source.in_({*found.sources, *searched, *found.mirrored} - set(differing)),
        )
        .returning(state.source, state.harvested_to)
    )
    harvested_to = {row.source: row.harvested_to for row in known}
    files = [asdict(file) | key for file in found.files if file.source not in differing]
    searches = [
        {"source": search.source, "url": search.source, "harvested_to": search.up_to} | key
        for search in found.harvested
        if search.source not in differing
        # If not, a classifier was promoted or a run failed meanwhile: the next listing is of all.
        and search.since in (None, harvested_to.get(search.source))
    ]
    for rows in filter(None, (files, searches)):
        connection.execute(sa.insert(listing_state), rows)
