"""Another look at an archive: which version each of its tables has, and whether that is new."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import IO, Self

from mernet.pds.disk import is_file_url, open_file, path_of
from mernet.pds.errors import NotFoundError
from mernet.pds.fetch import TABLE_LIMITS, UNCONDITIONAL, Fetcher, table_spool

BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class FileVersion:
    """Which version of a file was read.

    `etag` and `last_modified` are its headers as the server wrote them, None without; `sha256`
    is the hex digest of its content.
    """

    url: str
    etag: str | None
    last_modified: str | None
    sha256: str

    @property
    def condition(self) -> Mapping[str, str]:
        """The request headers that ask for another version only (RFC 9110, 13.1)."""
        headers = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in headers.items() if value}


class Revisit:
    """Where the listing of one archive gets its files from, when it was listed before.

    `known` are the versions of the tables, labels and inventories that the listing before opened;
    `versions` has, by URL, those that this one has looked at. What was fetched to see whether it
    has changed is not fetched again.
    """

    def __init__(self, fetcher: Fetcher, known: Iterable[FileVersion] = ()) -> None:
        self.connections_per_host = fetcher.connections_per_host
        self.versions: dict[str, FileVersion] = {}
        self._fetcher = fetcher
        self._known = tuple(known)
        self._files: dict[str, IO[bytes]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """The visit itself; its files are closed when the block ends."""
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def is_unchanged(self) -> bool:
        """Whether something is known of the archive and all of that is as it was.

        The server's word counts (304); where it sends a file, the file's hash does. Raises
        FetchError or a subclass.
        """
        return bool(self._known) and all(map(self._is_as_it_was, self._known))

    def fetch(self, url: str) -> bytes:
        """As `Fetcher.fetch`; a product's label is not what a listing is judged by."""
        return self._fetcher.fetch(url)

    @contextmanager
    def open(self, url: str) -> Iterator[IO[bytes]]:
        """As `Fetcher.open`, noting the file's version."""
        if url not in self._files:
            self._look_at(url)
        file = self._files[url]
        file.seek(0)
        yield file

    def _is_as_it_was(self, known: FileVersion) -> bool:
        try:
            return self._look_at(known.url, known).sha256 == known.sha256
        except NotFoundError:  # it may be there under another name, such as .tab.gz
            return False

    def _look_at(self, url: str, known: FileVersion | None = None) -> FileVersion:
        """The version of a file; unless the server says that it is the known one, fetched too."""
        if is_file_url(url):
            file = self._stack.enter_context(open_file(path_of(url), TABLE_LIMITS.max_bytes))
            return self._keep(url, file, {})
        spool = self._stack.enter_context(table_spool())
        condition = known.condition if known else UNCONDITIONAL
        headers = self._fetcher.download_table(url, spool, condition)
        if headers is None and known is not None:
            self.versions[url] = known
            return known
        return self._keep(url, spool, headers or {})

    def _keep(self, url: str, file: IO[bytes], headers: Mapping[str, str]) -> FileVersion:
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
