"""Fetch files over http(s) or from disk: with retries, limits, and few connections per host."""

import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import version
from io import BytesIO
from types import MappingProxyType
from typing import IO, Protocol, Self

import requests
import urllib3.exceptions
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_exponential, wait_random

from mernet.pds.answers import (
    Limits,
    check_is_file,
    check_range,
    check_size,
    check_status,
    write_body,
)
from mernet.pds.disk import MAX_PRODUCT_BYTES, is_file_url, open_file, path_from_url, read_file
from mernet.pds.errors import (
    FetchError,
    SlowTransferError,
    TransferError,
)
from mernet.pds.network_causes import cause_and_remedy
from mernet.pds.transport import (
    Session,
    check_transfer_encoding,
    content_length,
    redirect_target,
)
from mernet.printable import printable

REDIRECTS = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 10
EMPTY = 416  # a file without bytes has no first ones (RFC 9110, 15.5.17)
MAX_WAIT_SECONDS = 60.0
BACKOFF = wait_exponential(multiplier=0.5, max=30) + wait_random(0, 1)
# A retry may help after each of these, except if the cause is a URL that cannot be requested.
UNUSABLE_URL = urllib3.exceptions.LocationValueError
BROKEN_TRANSFER = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.InvalidHeader,  # of the answer; those of requests are fixed
    urllib3.exceptions.HTTPError,
)


def user_agent(contact: str = "") -> str:
    """Return the User-Agent header: this program, its version, and a contact for the archive.

    Headers are sent as latin-1; other characters become question marks.
    """
    product = f"mernet/{version('mernet')}"
    agent = f"{product} (+{contact})" if contact else product
    return agent.encode("latin-1", "replace").decode("latin-1")


TABLE_LIMITS = Limits(4 * 1024**3, 3600.0)  # the largest index table known has 772 MB
UNCONDITIONAL: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Transfers:
    """What was transferred: bytes, those of broken transfers included, and repeated attempts."""

    received_bytes: int = 0
    retries: int = 0

    def __add__(self, other: "Transfers") -> "Transfers":
        """Add up two counts."""
        return Transfers(self.received_bytes + other.received_bytes, self.retries + other.retries)

    def __sub__(self, earlier: "Transfers") -> "Transfers":
        """Return what was transferred since an earlier count."""
        return Transfers(
            self.received_bytes - earlier.received_bytes, self.retries - earlier.retries
        )


class FileSource(Protocol):
    """Gives a listing its files."""

    connections_per_host: int

    def fetch(self, url: str) -> bytes:
        """Return a complete label or the response of a search.

        Raises:
            FetchError: The file could not be fetched; a subclass says why.
        """

    def fetch_start(self, url: str, max_bytes: int) -> bytes:
        """Return the first bytes of a file, all of a shorter one.

        Raises:
            FetchError: The file could not be fetched; a subclass says why.
        """

    def open(self, url: str) -> AbstractContextManager[IO[bytes]]:
        """Open an index table, its label or an inventory as a seekable stream.

        Raises:
            FetchError: The file could not be fetched; a subclass says why.
        """


class TableSource(FileSource, Protocol):
    """Gives a listing its files, and those tables only that have changed."""

    def download_table(
        self, url: str, sink: IO[bytes], condition: Mapping[str, str]
    ) -> Mapping[str, str] | None:
        """Download a table if it has changed, as `Fetcher.download_table` does."""


@contextmanager
def table_spool() -> Iterator[IO[bytes]]:
    """Yield a temporary file for a table that is downloaded."""
    with tempfile.TemporaryFile(prefix="mernet-table-") as spool:
        yield spool


class Fetcher:
    """Fetches files by URL, http(s):// or file://; a worker process has one for all its threads.

    All threads share one `requests.Session`. That is safe: urllib3's connection pools have locks,
    cookies are refused, and headers are set only here. The pools block if all their connections are
    in use, which enforces `connections_per_host`. Proxies come from the environment. A redirect is
    followed on the host that was asked for, and to `redirect_hosts`.

    Args:
        agent: The User-Agent header; None for `user_agent()`.
        connections_per_host: The most connections to one host at a time.
        connect_seconds: The time limit for a connection.
        read_seconds: The time limit for a single wait for data.
        total_seconds: The time limit for one attempt to transfer a product.
        max_bytes: The maximum size of a product.
        attempts: The maximum number of attempts, the first one included.
        redirect_hosts: Names of other hosts to which a redirect may lead.
        sleep: Waits between attempts.
        on_retry: Called before each wait with the error's message and the seconds of the wait.
    """

    def __init__(
        self,
        agent: str | None = None,
        *,
        connections_per_host: int = 8,
        connect_seconds: float = 10.0,
        read_seconds: float = 30.0,
        total_seconds: float = 120.0,
        max_bytes: int = MAX_PRODUCT_BYTES,
        attempts: int = 5,
        redirect_hosts: Collection[str] = (),
        sleep: Callable[[float], None] = time.sleep,
        on_retry: Callable[[str, float], None] = lambda _, __: None,
    ) -> None:
        self.connections_per_host = connections_per_host
        self._timeouts = (connect_seconds, read_seconds)
        self._product_limits = Limits(max_bytes, total_seconds)
        self._retrying = Retrying(
            retry=retry_if_exception(_is_worth_retrying),
            stop=stop_after_attempt(attempts),
            wait=_wait_seconds,
            sleep=sleep,
            before_sleep=self._before_retry,
            reraise=True,
        )
        self._on_retry = on_retry
        self._transfers = Transfers()
        self._counting = threading.Lock()
        self._redirect_hosts = frozenset(host.lower() for host in redirect_hosts)
        self._session = Session(connections_per_host, read_seconds)
        self._session.headers["User-Agent"] = agent or user_agent()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def __enter__(self) -> Self:
        """Return the fetcher itself. Its connections are closed when the block ends."""
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    @property
    def transfers(self) -> Transfers:
        """What this fetcher has transferred so far."""
        return self._transfers

    def fetch(self, url: str) -> bytes:
        """Return the content of a file.

        Raises:
            FetchError: The file could not be fetched; a subclass says why.
        """
        return self._fetch(url, self._retrying)

    def fetch_once(self, url: str) -> bytes:
        """Return the content of a file as `fetch` does, but make one attempt only."""
        return self._fetch(url, self._retrying.copy(stop=stop_after_attempt(1)))

    def reconnect(self) -> None:
        """Let the next requests be made over new connections, so perhaps to another server."""
        self._session.close()

    def _fetch(self, url: str, retrying: Retrying) -> bytes:
        if is_file_url(url):
            data = read_file(path_from_url(url), self._product_limits.max_bytes)
            self._count(Transfers(len(data)))
            return data
        sink = BytesIO()
        retrying(self._download, url, sink, self._product_limits)
        return sink.getvalue()

    def _count(self, more: Transfers) -> None:
        with self._counting:
            self._transfers += more

    def fetch_start(self, url: str, max_bytes: int) -> bytes:
        """Return the first bytes of a file, such as its label.

        A server is asked for this range (RFC 9110, 14); of one that sends the whole file, no more
        is read.

        Raises:
            FetchError: The file could not be fetched; a subclass says why.
        """
        if is_file_url(url):
            with open_file(path_from_url(url), self._product_limits.max_bytes) as file:
                data = file.read(max_bytes)
            self._count(Transfers(len(data)))
            return data
        sink = BytesIO()
        first = {"Range": f"bytes=0-{max_bytes - 1}", "Accept-Encoding": "identity"}
        self._retrying(self._download, url, sink, self._product_limits, first, max_bytes)
        return sink.getvalue()[:max_bytes]

    @contextmanager
    def open(self, url: str) -> Iterator[IO[bytes]]:
        """Open a large table as a seekable binary stream.

        A table from the web is downloaded to a temporary file first, so that a broken transfer can
        be retried.

        Raises:
            FetchError: The file could not be fetched; a subclass says why.
        """
        if is_file_url(url):
            with open_file(path_from_url(url), TABLE_LIMITS.max_bytes) as file:
                yield file
            return
        with table_spool() as spool:
            self._retrying(self._download, url, spool, TABLE_LIMITS)
            spool.seek(0)
            yield spool

    def download_table(
        self, url: str, sink: IO[bytes], condition: Mapping[str, str]
    ) -> Mapping[str, str] | None:
        """Download a large table over http(s) into a file.

        Args:
            url: The table's URL.
            sink: The file.
            condition: Request headers such as If-None-Match.

        Returns:
            The response headers; None if the server answers that the table has not changed (304,
            RFC 9110).

        Raises:
            FetchError: The file could not be fetched; a subclass says why.
        """
        headers: Mapping[str, str] | None = self._retrying(
            self._download, url, sink, TABLE_LIMITS, condition
        )
        return headers

    def _before_retry(self, state: RetryCallState) -> None:
        self._count(Transfers(retries=1))
        error = state.outcome.exception() if state.outcome else None
        self._on_retry(str(error), state.upcoming_sleep)

    def _download(
        self,
        url: str,
        sink: IO[bytes],
        limits: Limits,
        condition: Mapping[str, str] = UNCONDITIONAL,
        enough: int | None = None,
    ) -> Mapping[str, str] | None:
        """Make one attempt over http(s); return the response headers, None for 304.

        With `enough`, only the first bytes were asked for, and reading ends after as many.
        """
        sink.seek(0)
        sink.truncate()
        try:
            with self._request(url, condition) as response:
                if condition and response.status_code == requests.codes.not_modified:
                    return None
                if enough is not None and response.status_code == EMPTY:
                    return response.headers
                if enough is not None and response.status_code == requests.codes.partial_content:
                    check_range(response.headers.get("Content-Range", ""), url)
                else:
                    check_status(response, url)
                length = content_length(response.headers.get("Content-Length"), url)
                check_transfer_encoding(response.headers.get("Transfer-Encoding"), url)
                check_size(length or 0, limits, url)
                write_body(response, sink, limits, url, enough)
                check_is_file(sink, url)
                return response.headers
        # requests and urllib3 let some errors of malformed URLs and headers pass as they are.
        except (OSError, urllib3.exceptions.HTTPError, ValueError, OverflowError) as error:
            if isinstance(error, BROKEN_TRANSFER) and not isinstance(error, UNUSABLE_URL):
                cause, remedy = cause_and_remedy(error, *self._timeouts)
                message = f"The transfer of {printable(url)} broke: {cause}; {remedy}"
                raise TransferError(message) from error
            raise FetchError(
                f"{printable(url)} cannot be fetched: {printable(error)}; check the URL"
            ) from error
        finally:
            self._count(Transfers(sink.tell()))

    @contextmanager
    def _request(self, url: str, condition: Mapping[str, str]) -> Iterator[requests.Response]:
        """Yield the response, after redirects within the hosts that may be asked."""
        target = url
        for _ in range(MAX_REDIRECTS + 1):
            with self._session.get(
                target, stream=True, timeout=self._timeouts, headers=condition
            ) as response:
                location = response.headers.get("Location")
                if response.status_code not in REDIRECTS or location is None:
                    yield response
                    return
                target = redirect_target(target, location, self._redirect_hosts)
        raise FetchError(
            f"{printable(url)} cannot be fetched: it redirects more than {MAX_REDIRECTS} times; "
            "check the URL"
        )


def _is_worth_retrying(error: BaseException) -> bool:
    """Return whether to retry: not if the server asks for a wait above MAX_WAIT_SECONDS."""
    if not isinstance(error, TransferError) or isinstance(error, SlowTransferError):
        return False
    return (error.retry_after or 0.0) <= MAX_WAIT_SECONDS


def _wait_seconds(state: RetryCallState) -> float:
    """Return exponential backoff with jitter, or what the server asked for if that is longer."""
    error = state.outcome.exception() if state.outcome else None
    asked_for = error.retry_after if isinstance(error, TransferError) else None
    return max(BACKOFF(state), asked_for or 0.0)
