"""Archives: where products come from, given by a known name, a URL or a path."""

import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from pathlib import Path
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from mernet.pds.disk import in_its_case, is_file_url, path_from_url
from mernet.pds.errors import BadArchiveError
from mernet.pds.plain_name import LABEL_SUFFIXES, MAX_URL, is_host_name
from mernet.printable import printable, quoted
from mernet.suggestions import did_you_mean

DEFAULT_LABEL = "{product}.xml"
SCHEMES = ("http", "https", "file")
GIVE_INVENTORY = "give the inventory of its collection (.csv, .tab)"
INVENTORY = re.compile(r"collection.*\.(csv|tab)")
MEMBERS = re.compile(r"/products/urn:[^/]+/members")


class ArchiveKind(StrEnum):
    """How an archive lists its products."""

    VOLUME = "volume"  # a PDS3 volume with its index tables in index/
    INDEX = "index"  # one PDS3 index table
    INVENTORY = "inventory"  # a PDS4 collection inventory
    REGISTRY = "registry"  # a search of the PDS registry for the members of a PDS4 collection
    FOLDER = "folder"  # a folder of product files on disk


@dataclass(frozen=True, slots=True)
class Archive:
    """A place that lists products.

    `url` belongs to the volume's root, the index label or table, the inventory, the registry search
    without its query, or the folder, depending on the kind. `label` is the path of a PDS4 label,
    relative to the inventory; {product} in it stands for the product's name. A mirror is only a
    place to read from: with one, `url` is there, `mirror` is its URL and `base` the archive's own.
    """

    name: str
    kind: ArchiveKind
    url: str
    label: str = DEFAULT_LABEL
    base: str = ""
    mirror: str = ""

    @property
    def source(self) -> str:
        """The archive's own URL, by which its products are known."""
        return self.own_url(self.url)

    def own_url(self, url: str) -> str:
        """Return the archive's own URL of a file at its mirror; other URLs are returned as is."""
        if self.mirror and url.startswith(self.mirror):
            return self.base + url.removeprefix(self.mirror)
        return url

    def url_to_read(self, url: str) -> str:
        """Return where to read a file of the archive's own URL, the inverse of `own_url`."""
        if self.mirror and url.startswith(self.base):
            return self.mirror + url.removeprefix(self.base)
        return url


@dataclass(frozen=True, slots=True)
class NamedArchive:
    """An entry of archives.toml, which describes the fields."""

    title: str
    kind: ArchiveKind
    base: str
    path: str
    label: str = DEFAULT_LABEL


@cache
def named_archives() -> dict[str, NamedArchive]:
    """Return the archives in archives.toml, by name."""
    entries = tomllib.loads(
        files("mernet.pds").joinpath("archives.toml").read_text(encoding="utf-8")
    )
    return {
        name: NamedArchive(**{**entry, "kind": ArchiveKind(entry["kind"])})
        for name, entry in entries.items()
    }


def resolve(spec: str, mirror: str | None = None) -> Archive:
    """Find an archive by its name in archives.toml, by URL or by path.

    Args:
        spec: A known name; or the URL or path of a PDS3 volume, an index label or table (.lbl,
            .tab, .tab.gz) or a PDS4 inventory (.csv, collection*.tab); or the URL of a registry
            search (.../products/LID/members); or the path or file:// URL of a folder that holds
            product files or one collection*.csv or .tab.
        mirror: A URL or path that replaces the base of a named archive.

    Raises:
        BadArchiveError: The spec or the mirror is not usable.
    """
    named = named_archives().get(spec)
    if named is not None:
        return _resolve_named(spec, named, mirror)
    if mirror is not None:
        raise BadArchiveError(
            f"A mirror replaces the base of a named archive ({_known_names()}), "
            f"but {quoted(spec)} is not one; give the mirror itself as the archive"
        )
    url = _to_url(spec)
    if is_file_url(url):
        with _path_errors_as_bad_archive(spec):
            return _archive_on_disk(spec, path_from_url(url))
    return _archive_at_url(spec, url)


def _resolve_named(name: str, named: NamedArchive, mirror: str | None) -> Archive:
    """Return an archive of archives.toml, at its own base or at the mirror."""
    if mirror is None:
        return Archive(name, named.kind, urljoin(named.base, named.path), named.label)
    place = _mirror_url(mirror)
    if named.kind is ArchiveKind.REGISTRY and is_file_url(place):
        raise BadArchiveError(
            f"{quoted(name)} is a registry search, which a folder cannot answer; give a URL "
            "as its mirror"
        )
    url = urljoin(place, named.path)
    return Archive(name, named.kind, url, named.label, named.base, place)


def _mirror_url(mirror: str) -> str:
    """Return a mirror's URL, which ends with a slash."""
    try:
        url = _to_url(mirror)
    except BadArchiveError as error:
        raise BadArchiveError(f"The mirror is not usable: {printable(error)}") from error
    return url if url.endswith("/") else f"{url}/"


def is_mirrored(url: str) -> bool:
    """Return whether a mirror would replace the base of this URL: it is of a named archive."""
    return any(url.startswith(named.base) for named in named_archives().values())


def url_at_mirror(url: str, mirror: str | None) -> str:
    """Return where to read a file of a named archive if there is a mirror; other URLs as they are.

    A mirror on disk may have the names in another case.

    Raises:
        BadArchiveError: The mirror is not usable.
    """
    if mirror is None:
        return url
    place = _mirror_url(mirror)
    for named in named_archives().values():
        if url.startswith(named.base):
            copy = place + url.removeprefix(named.base)
            return in_its_case(place, copy) or copy
    return url


def _to_url(spec: str) -> str:
    """Return a URL unchanged, and a path as file:// URL with special characters encoded."""
    if "\0" in spec:
        raise BadArchiveError(f"{quoted(spec, 100)} contains a NUL character; remove it")
    try:
        scheme = urlsplit(spec).scheme
    except ValueError as error:
        raise BadArchiveError(
            f"{quoted(spec)} is not a valid URL ({printable(error)}); correct it"
        ) from error
    if scheme in SCHEMES:
        if not is_file_url(spec) and (problem := _problem_of(spec)):
            raise BadArchiveError(f"{quoted(spec)} {problem}")
        return spec
    if "://" in spec:
        raise BadArchiveError(
            f"{quoted(spec)} has the scheme {quoted(scheme)}; use http, https or file"
        )
    with _path_errors_as_bad_archive(spec):
        path = Path(spec).expanduser().resolve()
        if not spec or not path.exists():
            raise BadArchiveError(
                f"{quoted(spec)} is neither a known archive nor a URL nor an existing path"
                f"{did_you_mean(spec, named_archives())} Known archives: {_known_names()}"
            )
        return path.as_uri()


def folder_url(spec: str) -> str:
    """Return the URL of a folder, given by URL or path, which ends with a slash; it may be gone.

    Raises:
        BadArchiveError: It is neither.
    """
    if "://" in spec:
        url = _to_url(spec)
    else:
        with _path_errors_as_bad_archive(spec):
            url = Path(spec).expanduser().resolve().as_uri()
    return url if url.endswith("/") else f"{url}/"


def at_new_address(spec: str, old: str, new: str) -> str:
    """Return how to name an archive after a move, by its address; its name if it has not moved.

    Args:
        spec: An archive as `resolve` reads it; its place may be gone.
        old: The URL of a folder, with which the addresses of what has moved began.
        new: The URL of the folder that has taken its place. What is below it already stays there.

    Raises:
        BadArchiveError: The archive's name cannot be read.
    """
    named = named_archives().get(spec)
    url = folder_url(urljoin(named.base, named.path) if named else spec)
    if not url.startswith(old) or (new.startswith(old) and url.startswith(new)):
        return spec
    moved = new + url.removeprefix(old)
    return moved if (named.path if named else spec).endswith("/") else moved.removesuffix("/")


@contextmanager
def _path_errors_as_bad_archive(spec: str) -> Iterator[None]:
    """Raise BadArchiveError for a path that cannot be resolved, such as ~nosuchuser."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadArchiveError(
            f"{quoted(spec, 100)} cannot be resolved as a path ({reason}); "
            f"known archives: {_known_names()}"
        ) from error


def _archive_at_url(spec: str, url: str) -> Archive:
    """Return the archive at an http(s) URL; the end of the URL decides the kind."""
    parts = urlsplit(url)
    if MEMBERS.search(unquote(parts.path)):
        if not parts.path.endswith("/members") or parts.query:
            raise BadArchiveError(f"{quoted(spec)} is a registry search; end the URL with /members")
        return Archive(spec, ArchiveKind.REGISTRY, url)
    if parts.query or parts.fragment:
        raise BadArchiveError(
            f"{quoted(spec)} has a query or fragment; give the URL of a folder, index or inventory"
        )
    kind = _kind_of_file(url)
    if kind is not None:
        return Archive(spec, kind, url)
    if parts.path.lower().endswith(LABEL_SUFFIXES):
        raise BadArchiveError(f"{quoted(spec)} is a PDS4 label; {GIVE_INVENTORY}")
    return Archive(spec, ArchiveKind.VOLUME, url if url.endswith("/") else f"{url}/")


def _problem_of(url: str) -> str | None:
    """Return why an http(s) URL cannot be requested, and what to do; None if it can be."""
    if not url.isprintable() or " " in url:
        return "holds blanks or control characters; correct the URL"
    if len(url) > MAX_URL:
        return f"has more than {MAX_URL} characters; correct the URL"
    parts = urlsplit(url)
    if not _has_usable_port(parts):
        return "has a port that is not a number from 1 to 65535; correct the URL"
    if not parts.hostname:
        return "names no host; correct the URL"
    return None if is_host_name(parts.hostname) else "names a host that cannot exist; correct it"


def _has_usable_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False


def _archive_on_disk(spec: str, path: Path) -> Archive:
    """Return the archive in a file or folder; the content of a folder decides the kind."""
    if path.is_file():
        kind = _kind_of_file(path.name)
        if kind is None and path.name.lower().endswith(LABEL_SUFFIXES):
            raise BadArchiveError(f"{quoted(spec)} is a PDS4 label; {GIVE_INVENTORY}")
        if kind is None:
            raise BadArchiveError(
                f"{quoted(spec)} is neither an index (.lbl, .tab, .tab.gz) nor an inventory "
                "(.csv); give one of these, or a folder"
            )
        return Archive(spec, kind, path.as_uri())
    if not path.is_dir():
        problem = "is neither a file nor a folder" if path.exists() else "does not exist"
        raise BadArchiveError(f"{quoted(spec)} {problem}; give an existing file or folder")
    inventories = sorted(file for file in path.iterdir() if _is_inventory(file.name))
    if len(inventories) > 1:
        raise BadArchiveError(
            f"{quoted(spec)} holds {len(inventories)} inventories; give one of them"
        )
    if inventories:
        return Archive(spec, ArchiveKind.INVENTORY, inventories[0].as_uri())
    is_volume = any((path / name).is_dir() for name in ("index", "INDEX"))
    kind = ArchiveKind.VOLUME if is_volume else ArchiveKind.FOLDER
    return Archive(spec, kind, f"{path.as_uri()}/")


def _kind_of_file(url: str) -> ArchiveKind | None:
    """Return the kind of archive by the file extension, None for other extensions."""
    path = unquote(urlsplit(url).path).lower()
    if _is_inventory(path.rpartition("/")[2]):
        return ArchiveKind.INVENTORY
    if path.endswith((".lbl", ".tab", ".tab.gz")):
        return ArchiveKind.INDEX
    return ArchiveKind.INVENTORY if path.endswith(".csv") else None


def _is_inventory(file_name: str) -> bool:
    """Return whether a file's name is that of a collection's inventory (.csv or .tab)."""
    return INVENTORY.fullmatch(file_name.lower()) is not None


def _known_names() -> str:
    """Return the names in archives.toml, for messages."""
    return ", ".join(sorted(named_archives()))
