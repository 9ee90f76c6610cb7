"""Change detection: whether an archive's tables have changed since they were last listed."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import IO, Self

from mernet.pds.disk import is_file_url, open_file, path_from_url
from mernet.pds.errors import NotFoundError
from mernet.pds.fetch import TABLE_LIMITS, UNCONDITIONAL, TableSource, table_spool

BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class FileVersion:
    """The version of a file that was read.

    `etag` and `last_modified` are the response headers as the server wrote them, None if it sent
    none. `sha256` is the hex digest of the content.
    """

    url: str
    etag: str | None
    last_modified: str | None
    sha256: str

    @property
    def condition(self) -> Mapping[str, str]:
        """Return the headers that request the file only if it has changed (RFC 9110, 13.1)."""
        headers = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in headers.items() if value}


class ChangeDetector:
    """A file source for listing one archive that detects what changed since its last listing.

    A file that was downloaded to find out whether it has changed is not downloaded again to read
    it.

    Args:
        fetcher: Downloads the files.
        known: The versions of the tables, labels and inventories that the last listing read.

    Attributes:
        versions: By URL, the versions of the files checked or read so far.
    """

    def __init__(self, fetcher: TableSource, known: Iterable[FileVersion] = ()) -> None:
        self.connections_per_host = fetcher.connections_per_host
        self.versions: dict[str, FileVersion] = {}
        self._fetcher = fetcher
        self._known = tuple(known)
        self._files: dict[str, IO[bytes]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Return the detector itself. Its files are closed when the block ends."""
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def is_unchanged(self) -> bool:
        """Return whether all known files are unchanged; False if no file is known.

        A file is unchanged if the server answers 304 or if its content has the same hash.

        Raises:
            FetchError: A file could not be checked.
        """
        return bool(self._known) and all(map(self._is_file_unchanged, self._known))

    def fetch(self, url: str) -> bytes:
        """Fetch as `Fetcher.fetch` does; product labels are not checked for changes."""
        return self._fetcher.fetch(url)

    def fetch_start(self, url: str, max_bytes: int) -> bytes:
        """Fetch as `Fetcher.fetch_start` does; product labels are not checked for changes."""
        return self._fetcher.fetch_start(url, max_bytes)

    @contextmanager
    def open(self, url: str) -> Iterator[IO[bytes]]:
        """Open as `Fetcher.open` does, and record the file's version."""
        if url not in self._files:
            self._check_version(url)
        file = self._files[url]
        file.seek(0)
        yield file

    def _is_file_unchanged(self, known: FileVersion) -> bool:
        try:
            return self._check_version(known.url, known).sha256 == known.sha256
        except NotFoundError:  # the file may have another name now, such as .tab.gz
            return False

    def _check_version(self, url: str, known: FileVersion | None = None) -> FileVersion:
        """Return a file's version, and download it unless the server says it is the known one."""
        if is_file_url(url):
            file = self._stack.enter_context(open_file(path_from_url(url), TABLE_LIMITS.max_bytes))
            return self._record(url, file, {})
        spool = self._stack.enter_context(table_spool())
        condition = known.condition if known else UNCONDITIONAL
        headers = self._fetcher.download_table(url, spool, condition)
        if headers is None and known is not None:
            self.versions[url] = known
            return known
        return self._record(url, spool, headers or {})

    def _record(self, url: str, file: IO[bytes], headers: Mapping[str, str]) -> FileVersion:
        """Hash a file and store it with its version."""
        file.seek(0)
        digest = hashlib.sha256()
        for block in iter(partial(file.read, BLOCK_BYTES), b""):
            digest.update(block)
        version = FileVersion(
            url, headers.get("ETag"), headers.get("Last-Modified"), digest.hexdigest()
        )
        self._files[url] = file
        self.versions[url] = version
        return version
