"""Listing: from archives to the stream of products that are wanted, one version of each."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from mernet.pds.archive import Archive, ArchiveKind
from mernet.pds.fetch import FileSource
from mernet.pds.folder import read_folder
from mernet.pds.index_table import read_index
from mernet.pds.inventory import read_inventory
from mernet.pds.product import Product
from mernet.pds.registry import HarvestCursor, read_registry
from mernet.pds.selection import LeftOut, LeftOutReason, Selection


def list_products(
    archives: Sequence[Archive],
    selection: Selection,
    fetcher: FileSource,
    on_left_out: Callable[[LeftOut], None],
    on_row: Callable[[int], None],
    harvest: HarvestCursor | None = None,
) -> Iterator[Product]:
    """The wanted products of all archives together, of each image the highest version only.

    Every row ends either in one yielded product or in one call of `on_left_out`; `on_row` gets the
    number of rows read so far. Rows are streamed; only wanted products are kept (about 16,000 in
    the whole archive), and they are yielded once all rows are read, since the highest version of
    an image may come last. `harvest` says from when on a registry search is listed, and is told how
    far it was; without it, all is listed. Raises FetchError, BadIndexError or BadArchiveError.
    """
    highest: dict[str, Product] = {}
    rows = 0
    for archive in archives:
        for entry in _entries(archive, selection, fetcher, harvest or HarvestCursor()):
            rows += 1
            on_row(rows)
            left_out = (
                entry
                if isinstance(entry, LeftOut)
                else _keep_highest(replace(entry, source=archive.url), highest)
            )
            if left_out is not None:
                on_left_out(left_out)
    yield from highest.values()


def _entries(
    archive: Archive, selection: Selection, fetcher: FileSource, harvest: HarvestCursor
) -> Iterator[Product | LeftOut]:
    """The rows of one archive."""
    match archive.kind:
        case ArchiveKind.VOLUME | ArchiveKind.INDEX:
            return read_index(archive, selection, fetcher)
        case ArchiveKind.INVENTORY:
            return read_inventory(archive, selection, fetcher)
        case ArchiveKind.REGISTRY:
            return read_registry(archive, selection, fetcher, harvest)
        case ArchiveKind.FOLDER:
            return read_folder(archive, selection)


def _keep_highest(product: Product, highest: dict[str, Product]) -> LeftOut | None:
    """Put a product in its place among the highest versions; the one that has to go, if any."""
    rival = highest.get(product.name.image)
    if rival is None or product.name.supersedes(rival.name):
        highest[product.name.image] = product
        return LeftOut(rival.product_id, LeftOutReason.SUPERSEDED) if rival else None
    if product.name == rival.name:
        return LeftOut(product.product_id, LeftOutReason.LISTED_TWICE)
    return LeftOut(product.product_id, LeftOutReason.SUPERSEDED)
