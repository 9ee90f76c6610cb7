"""Read members of PDS4 collections: by their names, then by the labels of the wanted ones."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from urllib.parse import quote, unquote, urljoin

from mernet.pds import pds4
from mernet.pds.errors import DecodeError, NotFoundError
from mernet.pds.fetch import FileSource
from mernet.pds.product import Product
from mernet.pds.selection import LeftOut, LeftOutReason, Selection

BATCH = 256  # members whose labels are fetched in parallel
# Reasons for leaving a member out now that may not hold at the next listing. A collection that has
# such a member is read again at each listing, even if the label stays missing or unreadable.
TRANSIENT_REASONS = (LeftOutReason.LABEL_NOT_FOUND, LeftOutReason.UNREADABLE_LABEL)


@dataclass(frozen=True, slots=True)
class Member:
    """A product as its collection lists it.

    `product` is the last part of the LID. `label_url` is None if it is unknown. The data file is
    the one of `file_urls` with the file name that the label gives; without such a URL, the data
    file is in the label's folder.
    """

    product: str
    label_url: str | None
    file_urls: tuple[str, ...] = ()


def product_from_lidvid(lidvid: str) -> str:
    """Return the product in `urn:nasa:pds:bundle:collection:product::version`."""
    return lidvid.partition("::")[0].rpartition(":")[2]


def read_members(
    members: Iterable[Member | LeftOut], selection: Selection, fetcher: FileSource
) -> Iterator[Product | LeftOut]:
    """Yield every member, in order, as a product or as left out.

    A label that does not exist or cannot be read leaves its product out, for one of
    TRANSIENT_REASONS.

    Raises:
        FetchError: A label cannot be fetched for another reason. Without it, the listing would be
            incomplete and nothing would show that.
    """

    def read(member: Member | LeftOut) -> Product | LeftOut:
        return member if isinstance(member, LeftOut) else _read_member(member, selection, fetcher)

    rest = iter(members)
    with ThreadPoolExecutor(fetcher.connections_per_host) as pool:
        while batch := list(islice(rest, BATCH)):
            yield from pool.map(read, batch)


def _read_member(member: Member, selection: Selection, fetcher: FileSource) -> Product | LeftOut:
    """Return the product of a member; its label is fetched only if its name is wanted."""
    name = selection.wanted_name(member.product)
    if isinstance(name, LeftOut):
        return name
    if member.label_url is None:
        return LeftOut(member.product, LeftOutReason.LABEL_NOT_FOUND)
    try:
        label = pds4.read_label(fetcher.fetch(member.label_url), member.label_url)
    except NotFoundError:
        return LeftOut(member.product, LeftOutReason.LABEL_NOT_FOUND)
    except DecodeError:
        return LeftOut(member.product, LeftOutReason.UNREADABLE_LABEL)
    named = (url for url in member.file_urls if unquote(url.rpartition("/")[2]) == label.file_name)
    image_url = next(named, urljoin(member.label_url, quote(label.file_name)))
    return selection.product(member.product, label.facts, image_url, member.label_url)
