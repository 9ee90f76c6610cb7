"""List archives: the wanted products of all of them, in their highest versions."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from mernet.errors import MernetError
from mernet.pds.archive import Archive, ArchiveKind
from mernet.pds.completeness import CompletenessCheck
from mernet.pds.errors import BadIndexError
from mernet.pds.fetch import FileSource
from mernet.pds.folder import read_folder
from mernet.pds.index_table import read_index
from mernet.pds.inventory import read_inventory
from mernet.pds.product import Product
from mernet.pds.registry import HarvestCursor, read_registry
from mernet.pds.selection import LeftOut, LeftOutReason, Selection
from mernet.printable import printable


def list_products(
    archives: Sequence[Archive],
    selection: Selection,
    fetcher: FileSource,
    on_left_out: Callable[[LeftOut], None],
    on_row: Callable[[int], None],
    harvest: HarvestCursor | None = None,
    completeness: CompletenessCheck | None = None,
) -> Iterator[Product]:
    """Yield the wanted products of all archives, only the highest version of each image.

    Every row ends either as a yielded product or in a call of `on_left_out`. Rows are streamed and
    only wanted products are stored (about 16,000 in the whole archive). They are yielded after the
    last row, which may have the highest version of an image. A folder's images and an archive's are
    not compared with each other.

    Args:
        archives: The archives, read one after the other.
        selection: Which products are wanted.
        fetcher: Gives the files.
        on_left_out: Called for every row that is left out.
        on_row: Called with the number of rows read so far.
        harvest: Where a registry search begins; it is moved to where the next one has to begin.
            None for all products.
        completeness: What to do about tables and inventories that end before their labels say; by
            default they are refused.

    Raises:
        BadArchiveError: A folder has no files.
        BadIndexError: A table, inventory or search is not usable, or ends too early.
        FetchError: A file cannot be fetched.
    """
    highest: dict[tuple[str, bool], Product] = {}
    rows = 0
    for archive in archives:
        entries = _read_archive(
            archive,
            selection,
            fetcher,
            harvest or HarvestCursor(),
            completeness or CompletenessCheck(),
        )
        for entry in _only_our_errors(entries, archive):
            rows += 1
            on_row(rows)
            left_out = (
                entry
                if isinstance(entry, LeftOut)
                else _keep_highest(_as_its_own(entry, archive), highest)
            )
            if left_out is not None:
                on_left_out(left_out)
    yield from highest.values()


def highest_versions(
    products: Iterable[Product], on_left_out: Callable[[LeftOut], None]
) -> list[Product]:
    """Return only the highest version of each image, as `list_products` does for its archives.

    Args:
        products: Products of archives that were listed one by one.
        on_left_out: Called for every product that is left out.
    """
    highest: dict[tuple[str, bool], Product] = {}
    for product in products:
        left_out = _keep_highest(product, highest)
        if left_out is not None:
            on_left_out(left_out)
    return list(highest.values())


def _only_our_errors(
    entries: Iterator[Product | LeftOut], archive: Archive
) -> Iterator[Product | LeftOut]:
    """Yield the rows of one archive; a defect that it reveals must not stop the others."""
    try:
        yield from entries
    except (MernetError, MemoryError):
        raise
    except Exception as error:  # a defect that this archive reveals; others are still listed
        raise BadIndexError(
            f"{archive.url} cannot be listed ({type(error).__name__}: {printable(error)})"
        ) from error


def _read_archive(
    archive: Archive,
    selection: Selection,
    fetcher: FileSource,
    harvest: HarvestCursor,
    completeness: CompletenessCheck,
) -> Iterator[Product | LeftOut]:
    """Yield the rows of one archive."""
    match archive.kind:
        case ArchiveKind.VOLUME | ArchiveKind.INDEX:
            return read_index(archive, selection, fetcher, completeness)
        case ArchiveKind.INVENTORY:
            return read_inventory(archive, selection, fetcher, completeness)
        case ArchiveKind.REGISTRY:
            return read_registry(archive, selection, fetcher, harvest)
        case ArchiveKind.FOLDER:
            return read_folder(archive, selection)


def _as_its_own(product: Product, archive: Archive) -> Product:
    """Return a product with its source, and with the archive's own URLs instead of a mirror's."""
    return replace(
        product,
        source=archive.source,
        is_own=archive.kind is ArchiveKind.FOLDER,
        image_url=archive.own_url(product.image_url),
        label_url=product.label_url and archive.own_url(product.label_url),
        browse_url=product.browse_url and archive.own_url(product.browse_url),
    )


def _keep_highest(product: Product, highest: dict[tuple[str, bool], Product]) -> LeftOut | None:
    """Keep the higher version of a product's image; return the other one, if there is one.

    A folder's images and an archive's are not compared: they are collections of their own.
    """
    key = product.name.image, product.is_own
    rival = highest.get(key)
    if rival is None or product.name.supersedes(rival.name):
        highest[key] = product
        return LeftOut(rival.product_id, LeftOutReason.SUPERSEDED) if rival else None
    if product.name == rival.name:
        return LeftOut(product.product_id, LeftOutReason.LISTED_TWICE)
    return LeftOut(product.product_id, LeftOutReason.SUPERSEDED)
