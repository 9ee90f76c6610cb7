"""Files on disk, by path or file:// URL; errors of the operating system become this room's."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import chain
from pathlib import Path
from typing import IO
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

from mernet.pds.errors import FetchError, ForbiddenError, NotFoundError, TooLargeError
from mernet.printable import printable

BLOCK_BYTES = 1024 * 1024
MAX_PRODUCT_BYTES = 64 * 1024**2  # raw products have 2 MB, the largest derived ones 13 MB


def is_file_url(url: str) -> bool:
    """Return whether a URL means a file or folder on this machine."""
    return url.lower().startswith("file:")


def path_from_url(url: str) -> Path:
    """Return the path that a file:// URL means.

    Raises:
        FetchError: The URL is malformed, or names a file of another host.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise FetchError(f"{printable(url)} is not a URL: {printable(error)}; check it") from error
    if parts.netloc not in ("", "localhost"):
        raise FetchError(f"{printable(url)} names a file of another host; give a path")
    return Path(url2pathname(parts.path))


def gone_files(urls: Iterable[str]) -> set[str]:
    """Return those of these files on disk that do not exist any more.

    A file may also be missing because its disk is not mounted. It counts as gone only if the
    nearest folder above it that exists holds something, and is no place where disks are mounted.
    """
    is_mounted = cache(_is_surely_mounted)
    return {url for url in urls if is_file_url(url) and _is_gone(url, is_mounted)}


def _is_gone(url: str, is_mounted: Callable[[Path], bool]) -> bool:
    """Return whether a file is gone; False if that cannot be found out."""
    try:
        path = path_from_url(url)
        return not _exists(path) and is_mounted(next(filter(_exists, path.parents)))
    except (OSError, ValueError, FetchError):
        return False


def _exists(path: Path) -> bool:
    """Return whether something is at a path, such as a link to a disk that is not mounted."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _is_surely_mounted(folder: Path) -> bool:
    """Return whether a folder is not one at which, or in which, a disk may be missing."""
    with os.scandir(folder) as entries:
        first = next(entries, None)
        return first is not None and not any(
            entry.is_dir(follow_symlinks=False) and os.path.ismount(entry.path)
            for entry in chain((first,), entries)
        )


def in_its_case(base: str, url: str) -> str | None:
    """Return the URL of a file below the folder `base`, with names in the case that the disk has.

    Each name may also be there in lower or in upper case.

    Returns:
        None if there is no such file; a URL of the web as it is.
    """
    if not is_file_url(base) or not url.startswith(base):
        return url
    folder, _, name = url.rpartition("/")
    found = (
        file_in_its_case(each, unquote(name)) for each in folders_in_their_case(base, f"{folder}/")
    )
    return next(filter(None, found), None)


def folders_in_their_case(base: str, url: str) -> list[str]:
    """Return the URLs of the folders below `base` that `url` names in the case of the disk.

    Each name may be there as it is, in lower and in upper case. URLs of folders end with a slash.
    """
    if not is_file_url(base) or not url.startswith(base):
        return [url]
    names = unquote(url.removeprefix(base)).split("/")[:-1]
    try:
        return [
            base + "".join(f"{quote(name)}/" for name in found)
            for found in _find_folders(path_from_url(base), names)
        ]
    except (OSError, ValueError, FetchError):
        return []


def file_in_its_case(folder: str, name: str) -> str | None:
    """Return the URL of a file in a folder, its name in the case of the disk; None without it.

    Args:
        folder: The folder's URL with a slash at its end; a file on the web is taken to be there.
        name: The file's name, which may also be there in lower or in upper case.
    """
    if not is_file_url(folder):
        return folder + quote(name)
    try:
        path = path_from_url(folder)
        found = (each for each in _cases(name) if (path / each).is_file())
        return next((folder + quote(each) for each in found), None)
    except (OSError, ValueError, FetchError):
        return None


def _find_folders(folder: Path, names: list[str]) -> Iterator[list[str]]:
    """Yield the names, as they are on disk, of nested folders below `folder`."""
    if not names:
        yield []
        return
    name, *rest = names
    for each in _cases(name):
        if (folder / each).is_dir():
            yield from ([each, *inner] for inner in _find_folders(folder / each, rest))


def _cases(name: str) -> Iterable[str]:
    return dict.fromkeys((name, name.lower(), name.upper()))


def open_file(path: Path, max_bytes: int) -> IO[bytes]:
    """Open a file for reading; only regular files, since a pipe may never end.

    Raises:
        FetchError: The file cannot be read; a subclass says why.
        TooLargeError: The file has more than `max_bytes`.
    """
    with _os_errors_as_fetch_errors(path):
        if path.exists() and not path.is_file():
            raise NotFoundError(f"{printable(path)} is not a file; give the path of a file")
        if path.stat().st_size > max_bytes:
            raise _too_large(path, max_bytes)
        return path.open("rb")


def read_file(path: Path, max_bytes: int) -> bytes:
    """Read a file completely; raises as `open_file` does."""
    with _os_errors_as_fetch_errors(path), open_file(path, max_bytes) as file:
        data = bytearray()
        while block := file.read(BLOCK_BYTES):
            data += block
            if len(data) > max_bytes:  # it grew, or did not say its size, as files in /proc
                raise _too_large(path, max_bytes)
        return bytes(data)


def _too_large(path: Path, max_bytes: int) -> TooLargeError:
    return TooLargeError(
        f"{printable(path)} has more than {max_bytes} bytes; check that it is the right file"
    )


@contextmanager
def _os_errors_as_fetch_errors(path: Path) -> Iterator[None]:
    """Raise FetchError, or the subclass that fits, for errors of the operating system."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(f"{printable(path)} does not exist; check the path") from error
    except PermissionError as error:
        raise ForbiddenError(
            f"{printable(path)} is not readable for this user; change its permissions"
        ) from error
    except OSError as error:
        raise FetchError(
            f"{printable(path)} cannot be read: {printable(error)}; check the disk"
        ) from error
    except ValueError as error:  # a NUL in it
        raise FetchError(
            f"{printable(path)} is not a valid path: {printable(error)}; check it"
        ) from error
