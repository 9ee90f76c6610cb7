"""An archive: a place that products come from, found by name, URL or path."""

import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from mernet.pds.disk import is_file_url, path_of
from mernet.pds.errors import BadArchiveError

DEFAULT_LABEL = "{product}.xml"
SCHEMES = ("http", "https", "file")
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
    """Where to list products: `url` is that of the volume's root, of the index label or table, of
    the inventory, of the registry's search without its query, or of the folder. `label` is the
    place of a PDS4 label, relative to its inventory, with {product} in it."""

    name: str
    kind: ArchiveKind
    url: str
    label: str = DEFAULT_LABEL


@dataclass(frozen=True, slots=True)
class NamedArchive:
    """An entry of archives.toml."""

    title: str
    kind: ArchiveKind
    base: str
    path: str
    label: str = DEFAULT_LABEL


@cache
def named_archives() -> dict[str, NamedArchive]:
    """The archives known by name, from archives.toml."""
    entries = tomllib.loads(
        files("mernet.pds").joinpath("archives.toml").read_text(encoding="utf-8")
    )
    return {
        name: NamedArchive(**{**entry, "kind": ArchiveKind(entry["kind"])})
        for name, entry in entries.items()
    }


def resolve(spec: str, mirror: str | None = None) -> Archive:
    """Find an archive by its name in archives.toml, by URL or by path.

    A URL or path may be that of a PDS3 volume, an index label or table (.lbl, .tab, .tab.gz), a
    PDS4 inventory (.csv); a URL also that of a registry search (.../products/LID/members); a path
    (or file:// URL) also that of a folder of product files or of a folder that holds one
    collection*.csv. `mirror` (URL or path) replaces a named archive's base. Raises BadArchiveError,
    which lists the known names.
    """
    named = named_archives().get(spec)
    if named is not None:
        return _named(spec, named, mirror)
    if mirror is not None:
        raise BadArchiveError(
            f"a mirror replaces the base of a named archive ({_names()}), "
            f"but {spec!r} is none: give the mirror itself as the archive"
        )
    url = _as_url(spec)
    if is_file_url(url):
        with _path_errors_named(spec):
            return _on_disk(spec, path_of(url))
    return _on_the_web(spec, url)


def _named(name: str, named: NamedArchive, mirror: str | None) -> Archive:
    """An archive of archives.toml, at its own base or at a mirror's."""
    try:
        base = _as_url(mirror or named.base)
    except BadArchiveError as error:
        raise BadArchiveError(f"mirror: {error}") from error
    if named.kind is ArchiveKind.REGISTRY and is_file_url(base):
        raise BadArchiveError(
            f"{name!r} is a search, which a folder cannot answer; give a URL as its mirror"
        )
    url = urljoin(base if base.endswith("/") else f"{base}/", named.path)
    return Archive(name, named.kind, url, named.label)


def _as_url(spec: str) -> str:
    """A URL as it is, a path as file:// URL with its special characters encoded."""
    if "\0" in spec:
        raise BadArchiveError(f"{spec[:100]!r} holds a NUL, which no URL or path may; remove it")
    try:
        scheme = urlsplit(spec).scheme
    except ValueError as error:
        raise BadArchiveError(f"{spec!r} is no URL ({error}); check it") from error
    if scheme in SCHEMES:
        return spec
    if "://" in spec:
        raise BadArchiveError(f"{spec!r} has the scheme {scheme!r}; use one of {SCHEMES}")
    with _path_errors_named(spec):
        path = Path(spec).expanduser().resolve()
        if not spec or not path.exists():
            raise BadArchiveError(
                f"{spec!r} is no known archive, URL or existing path; known archives: {_names()}"
            )
        return path.as_uri()


@contextmanager
def _path_errors_named(spec: str) -> Iterator[None]:
    """What is raised for a path that cannot be looked up, such as ~nosuchuser, as our error."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadArchiveError(
            f"{spec[:100]!r} cannot be looked up as a path ({reason}); known archives: {_names()}"
        ) from error


def _on_the_web(spec: str, url: str) -> Archive:
    """What a URL means, by its end."""
    parts = urlsplit(url)
    if MEMBERS.search(unquote(parts.path)):
        if not parts.path.endswith("/members") or parts.query:
            raise BadArchiveError(f"{spec!r} is a registry search; give it up to /members only")
        return Archive(spec, ArchiveKind.REGISTRY, url)
    kind = _kind_of_file(url)
    if kind is not None:
        return Archive(spec, kind, url)
    return Archive(spec, ArchiveKind.VOLUME, url if url.endswith("/") else f"{url}/")


def _on_disk(spec: str, path: Path) -> Archive:
    """What a file or folder holds, by what lies in it."""
    if path.is_file():
        kind = _kind_of_file(path.name)
        if kind is None:
            raise BadArchiveError(
                f"{spec!r} is no index (.lbl, .tab, .tab.gz) and no inventory (.csv); "
                "give one, or a folder"
            )
        return Archive(spec, kind, path.as_uri())
    if not path.is_dir():
        raise BadArchiveError(f"{spec!r} does not exist; give a file or folder that does")
    inventories = sorted(path.glob("collection*.csv"))
    if len(inventories) > 1:
        raise BadArchiveError(f"{spec!r} holds {len(inventories)} inventories; give one of them")
    if inventories:
        return Archive(spec, ArchiveKind.INVENTORY, inventories[0].as_uri())
    kind = ArchiveKind.VOLUME if (path / "index").is_dir() else ArchiveKind.FOLDER
    return Archive(spec, kind, f"{path.as_uri()}/")


def _kind_of_file(url: str) -> ArchiveKind | None:
    """What a file is by its extension, None for none that we know."""
    name = unquote(urlsplit(url).path).lower()
    if name.endswith((".lbl", ".tab", ".tab.gz")):
        return ArchiveKind.INDEX
    return ArchiveKind.INVENTORY if name.endswith(".csv") else None


def _names() -> str:
    """The known names, for messages."""
    return ", ".join(sorted(named_archives()))
