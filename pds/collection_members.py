"""Read members of PDS4 collections: by their names, then by the labels of the wanted ones."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import quote, unquote, urljoin

from mernet.pds import pds4
from mernet.pds.errors import (
    BadIndexError,
    DecodeError,
    NotAFileError,
    NotFoundError,
    TooLargeError,
    UnavailableFileError,
)
from mernet.pds.fetch import FileSource
from mernet.pds.label_batches import Unread, read_labels
from mernet.pds.product import Product
from mernet.pds.selection import LeftOut, LeftOutReason, Selection


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
    members: Iterable[Member | LeftOut],
    selection: Selection,
    fetcher: FileSource,
    on_all_lost: Callable[[LeftOut], BadIndexError] | None = None,
) -> Iterator[Product | LeftOut]:
    """Yield every member, in order, as a product or as left out.

    A label that does not exist or cannot be read leaves its product out, for one of
    TRANSIENT_REASONS. Raises as `read_labels` does.
    """
    suffixes = list(pds4.LABEL_SUFFIXES)

    def read(member: Member) -> Product | LeftOut:
        return _read_member(member, selection, fetcher, suffixes)

    entries = (_wanted(member, selection) for member in members)
    yield from read_labels(entries, read, fetcher.connections_per_host, on_all_lost)


def _wanted(member: Member | LeftOut, selection: Selection) -> Unread[Member] | LeftOut:
    """Return a member whose label is needed, since its name is wanted."""
    if isinstance(member, LeftOut):
        return member
    name = selection.wanted_name(member.product)
    if isinstance(name, LeftOut):
        return name
    if member.label_url is None:
        return LeftOut(member.product, LeftOutReason.LABEL_NOT_FOUND)
    return Unread(member)


def _read_member(
    member: Member, selection: Selection, fetcher: FileSource, suffixes: list[str]
) -> Product | LeftOut:
    """Return the product of a member by its label."""
    try:
        data, label_url = _fetch_label(member, fetcher, suffixes)
        label = pds4.read_label(data, label_url)
    except NotFoundError:
        return LeftOut(member.product, LeftOutReason.LABEL_NOT_FOUND)
    except (DecodeError, NotAFileError, TooLargeError, UnavailableFileError):
        return LeftOut(member.product, LeftOutReason.UNREADABLE_LABEL)
    named = (url for url in member.file_urls if unquote(url.rpartition("/")[2]) == label.file_name)
    image_url = next(named, urljoin(label_url, quote(label.file_name)))
    return selection.product(member.product, label.facts, image_url, label_url)


def _fetch_label(member: Member, fetcher: FileSource, suffixes: list[str]) -> tuple[bytes, str]:
    """Return a member's label and its URL; the label may have either suffix of PDS4.

    The suffix that was found last is tried first, since a collection has one.
    """
    url = member.label_url or ""
    suffix = PurePosixPath(url).suffix
    if suffix.lower() not in pds4.LABEL_SUFFIXES or member.file_urls:
        return fetcher.fetch(url), url
    own = suffixes[0] if suffix.islower() else suffixes[0].upper()
    other = suffixes[-1] if suffix.islower() else suffixes[-1].upper()
    first, second = (url.removesuffix(suffix) + each for each in (own, other))
    try:
        return fetcher.fetch(first), first
    except (NotFoundError, NotAFileError) as error:
        try:
            data = fetcher.fetch(second)
        except NotFoundError:
            raise error from None
    suffixes[:] = [other.lower(), own.lower()]
    return data, second
