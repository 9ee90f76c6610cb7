"""Files on disk, by path or file:// URL, with errors that say what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mernet.pds.errors import FetchError, ForbiddenError, NotFoundError, TooLargeError

MAX_PRODUCT_BYTES = 64 * 1024**2  # raw products have 2 MB, the largest derived ones 13 MB


def is_file_url(url: str) -> bool:
    """Whether a URL means a file or folder on this machine."""
    return url.lower().startswith("file:")


def path_of(url: str) -> Path:
    """The path that a file:// URL means."""
    return Path(url2pathname(urlsplit(url).path))


def open_file(path: Path, max_bytes: int) -> IO[bytes]:
    """A regular file of at most `max_bytes`, open for reading; a pipe, say, may never end.

    Raises FetchError or a subclass.
    """
    with _errors_named(path):
        if path.exists() and not path.is_file():
            raise NotFoundError(f"{path} is not a file; give the path of a file")
        if path.stat().st_size > max_bytes:
            raise TooLargeError(f"{path} has more than {max_bytes} bytes; is it what you expect?")
        return path.open("rb")


def read_file(path: Path, max_bytes: int) -> bytes:
    """The whole of a regular file of at most `max_bytes`. Raises FetchError or a subclass."""
    with _errors_named(path), open_file(path, max_bytes) as file:
        return file.read()


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    """The operating system's errors as this room's."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(f"{path} does not exist; check the path") from error
    except PermissionError as error:
        raise ForbiddenError(f"{path} may not be read; give this user access to it") from error
    except OSError as error:
        raise FetchError(f"{path} cannot be read: {error}; check the disk") from error
    except ValueError as error:  # a NUL in it
        raise FetchError(f"{str(path)!r} cannot be a path: {error}; check it") from error
