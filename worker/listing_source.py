"""Gives listings their files over shared connections, and notices if the host is down."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from typing import IO, TypeVar
from urllib.parse import urljoin

import sqlalchemy as sa

from mernet.db import obstacles
from mernet.db.obstacles import ObstacleKind
from mernet.db.products import others_of_source
from mernet.pds.archive import Archive, ArchiveKind, resolve
from mernet.pds.disk import path_from_url
from mernet.pds.errors import (
    FetchError,
    NotAFileError,
    PdsError,
    TransferError,
    UnavailableFileError,
)
from mernet.pds.fetch import Fetcher, TableSource
from mernet.pds.index_table import volume_labels
from mernet.worker.archive_hosts import (
    LABEL_ENDS,
    OTHERS_ASKED,
    ROUNDS,
    HostRules,
    ImageSource,
    failure_of,
    host_down,
    host_of,
    may_be_host_fault,
)
from mernet.worker.connections import leased_connections
from mernet.worker.errors import HostDown, MustWait

T = TypeVar("T")

WITH_LABELS = (ArchiveKind.INVENTORY, ArchiveKind.REGISTRY)
"""Kinds of archives of which a label is read for each product."""


REFUSED_SECONDS = 300.0
"""How long a listing waits while an archive that was never listed is refused or redirected.

Its address may be wrong.
"""


class ListingSource:
    """Gives a listing its files, and notices if their host is down.

    A host is down if a file cannot be had from it and it does not answer a probe either. If it
    answers that, the file itself is the cause.

    Args:
        source: Fetches the files.
        connections: How many connections to a host the listing may use.
        why_down: Returns why the host of a URL is down, None if it answers. It is also given
            another file of that host that could be had, None if there was none.
    """

    def __init__(
        self,
        source: TableSource,
        connections: int,
        why_down: Callable[[str, str | None], HostDown | None],
    ) -> None:
        self.connections_per_host = connections
        self._source = source
        self._why_down = why_down
        self._had: dict[str | None, str] = {}

    def fetch(self, url: str) -> bytes:
        """Return a complete label or the response of a search.

        Raises:
            HostDown: Its host is down.
            UnavailableFileError: Its host answers, but does not give this file.
            FetchError: It cannot be fetched for another reason; a subclass says why.
        """
        return self._in_rounds(url, lambda: self._source.fetch(url))

    def fetch_start(self, url: str, max_bytes: int) -> bytes:
        """Return the first bytes of a file; raises as `fetch` does."""
        return self._in_rounds(url, lambda: self._source.fetch_start(url, max_bytes))

    @contextmanager
    def open(self, url: str) -> Iterator[IO[bytes]]:
        """Open a table, its label or an inventory; raises as `fetch` does."""
        with ExitStack() as stack:
            yield self._in_rounds(url, lambda: stack.enter_context(self._source.open(url)))

    def download_table(
        self, url: str, sink: IO[bytes], condition: Mapping[str, str]
    ) -> Mapping[str, str] | None:
        """Download a table if it has changed; raises as `fetch` does."""
        return self._in_rounds(url, lambda: self._source.download_table(url, sink, condition))

    def _in_rounds(self, url: str, get: Callable[[], T]) -> T:
        """Get a file; once more if its host is fine by now."""
        for _ in range(ROUNDS - 1):
            try:
                with self._host_faults(url):
                    return get()
            except FetchError as error:
                if not may_be_host_fault(error):
                    raise
        with self._host_faults(url):
            return get()

    @contextmanager
    def _host_faults(self, url: str) -> Iterator[None]:
        host = host_of(url)
        try:
            yield
        except FetchError as error:
            down = self._why_down(url, self._had.get(host)) if may_be_host_fault(error) else None
            if down and host is not None:
                raise host_down(host, error) from error
            if isinstance(error, TransferError) and not isinstance(error, NotAFileError):
                raise UnavailableFileError(str(error), error.retry_after) from error
            raise
        self._had[host] = url


@contextmanager
def listing_source(
    engine: sa.Engine,
    archives: Sequence[Archive],
    fetcher: Fetcher,
    rules: HostRules,
    run_id: int | None,
    is_wanted: Callable[[], bool],
    on_wait: Callable[[MustWait], None] | None = None,
) -> Iterator[ListingSource]:
    """Give a listing its files, over connections that are leased while the block runs.

    Labels of PDS4 products are fetched several at once, over half of the connections; all else is
    read file by file. Waits for connections as `leased_connections` does.
    """

    def why_down(url: str, had: str | None) -> HostDown | None:
        host = host_of(url)
        return why_archives_fail(engine, archives, fetcher, host, url, had) if host else None

    has_labels = any(archive.kind in WITH_LABELS for archive in archives)
    wanted = max(1, rules.connections // 2) if has_labels else 1
    with leased_connections(
        engine, hosts_of(archives), wanted, rules, run_id, is_wanted, on_wait
    ) as connections:
        yield ListingSource(fetcher, connections, why_down)


def hosts_of(archives: Sequence[Archive]) -> set[str]:
    """Return the hosts of archives, without folders on disk."""
    return {host for archive in archives if (host := host_of(archive.url))}


def why_archives_fail(
    engine: sa.Engine,
    archives: Sequence[Archive],
    fetcher: Fetcher,
    host: str,
    failed: str | None = None,
    had: str | None = None,
) -> HostDown | None:
    """Return why a host of archives is down, None if it answers.

    It is judged by images that earlier listings had. If none is known, it is judged by files of the
    listing; one that refuses these or redirects elsewhere is down for `REFUSED_SECONDS` only.

    Args:
        engine: The ledger, which knows images of the archives.
        archives: The archives.
        fetcher: Asks the host.
        host: The host.
        failed: The URL of a file that could not be had, if there is one; others are asked for.
        had: The URL of a file there that could be had before.
    """
    others = [
        url
        for archive in archives
        for other in others_of_source(
            engine, archive.source, "", "" if archive.mirror else f"{host}/", OTHERS_ASKED
        )
        if host_of(url := archive.url_to_read(other.image_url)) == host
    ]
    files = {had: None} if had else {}
    for archive in archives:
        if host_of(archive.url) == host:
            files |= dict.fromkeys(listing_files(archive.url))
    asked = [url for url in files if url != failed] or [failed or f"{host}/"]
    known_seconds = obstacles.known_seconds(engine, ObstacleKind.ARCHIVE_HOST, host)
    is_patient = bool(others) or known_seconds < REFUSED_SECONDS
    return _why_down(host, others or asked, is_patient, fetcher)


def _why_down(
    host: str, files: Sequence[str], is_patient: bool, source: ImageSource
) -> HostDown | None:
    """Return why the host of an archive is down, after single attempts; None if it is not.

    Args:
        host: The host.
        files: The files by which it is judged; it is down if it gives none.
        is_patient: Whether a host that refuses files or redirects elsewhere may be down.
        source: Fetches the files.
    """
    failures: list[FetchError] = []
    for url in files:
        failure = failure_of(url, source)
        if failure is None or not (is_patient or isinstance(failure, TransferError)):
            return None
        failures.append(failure)
        # Wrong places may be answered with pages, and quickly; a broken host answers slowly.
        if sum(not isinstance(each, NotAFileError) for each in failures) == OTHERS_ASKED:
            break
    return host_down(host, failures[0]) if failures else None


def listing_files(archive_url: str) -> list[str]:
    """Return the URLs of small files by which an archive shows that it is there."""
    try:
        archive = resolve(archive_url)
        if archive.kind is ArchiveKind.FOLDER:
            files = (path for path in path_from_url(archive.url).rglob("*") if path.is_file())
            return [path.as_uri() for path in islice(files, OTHERS_ASKED)]
    except (PdsError, OSError):
        return []
    url = archive.url
    match archive.kind:
        case ArchiveKind.VOLUME:
            return _index_labels(url)
        case ArchiveKind.INDEX:
            beside = [each for each in _index_labels(urljoin(url, "../")) if each != url]
            return [re.sub(r"(?i)\.tab(\.gz)?$", ".lbl", url), *beside]
        case ArchiveKind.INVENTORY:
            return [re.sub(r"\.\w+$", suffix, url) for suffix in LABEL_ENDS] + [url]
    return [url.removesuffix("/members"), url]


def _index_labels(volume_url: str) -> list[str]:
    return list(chain.from_iterable(volume_labels(volume_url, "any")))
