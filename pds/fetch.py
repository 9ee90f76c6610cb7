"""Fetching bytes over http(s) or from disk: retried, bounded in time and size, polite."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import version
from io import BytesIO
from types import MappingProxyType
from typing import IO, Protocol, Self

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_exponential, wait_random

from mernet.pds.disk import MAX_PRODUCT_BYTES, is_file_url, open_file, path_of, read_file
from mernet.pds.errors import (
    FetchError,
    ForbiddenError,
    NotFoundError,
    TooLargeError,
    TransferError,
)

CHUNK_BYTES = 64 * 1024
MAX_WAIT_SECONDS = 60.0
BACKOFF = wait_exponential(multiplier=0.5, max=30) + wait_random(0, 1)
# What may be cured by asking again, but for a URL that cannot be asked at all.
UNUSABLE_URL = urllib3.exceptions.LocationValueError
BROKEN_TRANSFER = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.HTTPError,
)


def user_agent(contact: str = "") -> str:
    """The User-Agent header: this program, its version, and whom the archive may write to.

    A header is sent as latin-1: what that cannot hold becomes a question mark.
    """
    product = f"mernet/{version('mernet')}"
    agent = f"{product} (+{contact})" if contact else product
    return agent.encode("latin-1", "replace").decode("latin-1")


@dataclass(frozen=True, slots=True)
class Limits:
    """The most bytes and seconds that one transfer may take."""

    max_bytes: int
    total_seconds: float


TABLE_LIMITS = Limits(4 * 1024**3, 3600.0)  # the largest index table known has 772 MB
UNCONDITIONAL: Mapping[str, str] = MappingProxyType({})


class FileSource(Protocol):
    """Where a listing gets its files from."""

    connections_per_host: int

    def fetch(self, url: str) -> bytes:
        """The whole of a label, or of a search's answer. Raises FetchError or a subclass."""

    def open(self, url: str) -> AbstractContextManager[IO[bytes]]:
        """An index table, its label or an inventory, as a seekable stream; raises as `fetch`."""


@contextmanager
def table_spool() -> Iterator[IO[bytes]]:
    """A temporary file for a table that comes over the net."""
    with tempfile.TemporaryFile(prefix="mernet-table-") as spool:
        yield spool


class Fetcher:
    """Gets files by URL, http(s):// or file://; one per worker process, shared by its threads.

    All threads share one `requests.Session`. What they share in it is safe to share: urllib3's
    connection pools are locked, cookies are refused, headers are set once, here. A pool that
    blocks when all its connections are out is what keeps `connections_per_host`. Proxies come from
    the environment.

    `agent` is the User-Agent header. `connect_seconds` and `read_seconds` bound a single wait for
    the server, `total_seconds` one attempt to transfer a product, `max_bytes` its size. `attempts`
    counts the first one too. `sleep` waits between attempts.
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
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.connections_per_host = connections_per_host
        self._waits = (connect_seconds, read_seconds)
        self._product_limits = Limits(max_bytes, total_seconds)
        self._retrying = Retrying(
            retry=retry_if_exception(_may_be_cured),
            stop=stop_after_attempt(attempts),
            wait=_wait_seconds,
            sleep=sleep,
            reraise=True,
        )
        self._session = requests.Session()
        self._session.headers["User-Agent"] = agent or user_agent()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            self._session.mount(
                scheme, HTTPAdapter(pool_maxsize=connections_per_host, pool_block=True)
            )

    def __enter__(self) -> Self:
        """The fetcher itself; its connections are closed when the block ends."""
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def fetch(self, url: str) -> bytes:
        """The whole of a file. Raises FetchError or a subclass, saying what to do."""
        if is_file_url(url):
            return read_file(path_of(url), self._product_limits.max_bytes)
        sink = BytesIO()
        self._retrying(self._download, url, sink, self._product_limits)
        return sink.getvalue()

    @contextmanager
    def open(self, url: str) -> Iterator[IO[bytes]]:
        """A large table as a seekable binary stream. One that comes over the net is spooled to
        disk first, so that a transfer which breaks late can start again. Raises as `fetch` does."""
        if is_file_url(url):
            with open_file(path_of(url), TABLE_LIMITS.max_bytes) as file:
                yield file
            return
        with table_spool() as spool:
            self._retrying(self._download, url, spool, TABLE_LIMITS)
            spool.seek(0)
            yield spool

    def download_table(
        self, url: str, sink: IO[bytes], condition: Mapping[str, str]
    ) -> Mapping[str, str] | None:
        """Write a large table that comes over http(s) into `sink`; the headers it came with.

        `condition` are request headers such as If-None-Match; None where the server answers that
        the table has not changed (304, RFC 9110). Raises as `fetch` does.
        """
        headers: Mapping[str, str] | None = self._retrying(
            self._download, url, sink, TABLE_LIMITS, condition
        )
        return headers

    def _download(
        self,
        url: str,
        sink: IO[bytes],
        limits: Limits,
        condition: Mapping[str, str] = UNCONDITIONAL,
    ) -> Mapping[str, str] | None:
        """One attempt over http(s); the answer's headers, None if there is nothing new to send."""
        sink.seek(0)
        sink.truncate()
        try:
            with self._session.get(
                url, stream=True, timeout=self._waits, headers=condition
            ) as response:
                if condition and response.status_code == requests.codes.not_modified:
                    return None
                _check_status(response, url)
                length = response.headers.get("Content-Length", "")
                _check_size(int(length) if length.isdecimal() else 0, limits, url)
                _receive(response.raw, sink, limits, url)
                return response.headers
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            if isinstance(error, BROKEN_TRANSFER) and not isinstance(error, UNUSABLE_URL):
                message = f"The transfer of {url} broke: {error}; try again later"
                raise TransferError(message) from error
            raise FetchError(f"{url} cannot be fetched: {error}; check the URL") from error


def _receive(body: urllib3.BaseHTTPResponse, sink: IO[bytes], limits: Limits, url: str) -> None:
    """Stream the body; urllib3 itself raises where it is shorter than its Content-Length.

    `read1` returns after one wait for the network, so that a server which drips is noticed.
    """
    deadline = time.monotonic() + limits.total_seconds
    while chunk := body.read1(CHUNK_BYTES, decode_content=True):
        sink.write(chunk)
        _check_size(sink.tell(), limits, url)
        if time.monotonic() > deadline:
            raise FetchError(
                f"{url} did not arrive within {limits.total_seconds:g} s; "
                "raise the total time-out or use a nearer mirror"
            )


def _check_status(response: requests.Response, url: str) -> None:
    """Turn every answer but 200 into the error that fits it."""
    status = response.status_code
    if status == requests.codes.ok:
        return
    if status in (404, 410):
        raise NotFoundError(
            f"{url} does not exist ({status}); check the archive's base URL or its mirror"
        )
    if status in (401, 403):
        raise ForbiddenError(
            f"{url} was refused ({status}); some hosts refuse automated clients: "
            "name a contact in the User-Agent or use a mirror"
        )
    if status == 429 or status >= 500:
        seconds = _retry_after(response.headers.get("Retry-After", ""))
        when = f"in {seconds:.0f} s, as it asks for," if seconds else "later"
        raise TransferError(
            f"{url} was answered with {status} (server busy or broken); "
            f"try again {when} or with fewer connections per host",
            seconds,
        )
    raise FetchError(f"{url} was answered with {status} instead of 200; check the URL")


def _check_size(size: int, limits: Limits, name: str) -> None:
    """Refuse what is larger than it may be."""
    if size > limits.max_bytes:
        raise TooLargeError(
            f"{name} has more than {limits.max_bytes} bytes; is it what you expect? "
            "If so, raise the size limit"
        )


def _retry_after(header: str) -> float | None:
    """Seconds to wait by a Retry-After header (RFC 9110: seconds or a date), None if unusable."""
    if header.strip().isdecimal():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _may_be_cured(error: BaseException) -> bool:
    """Whether to ask again; not where the server wants a longer rest than we would wait."""
    return isinstance(error, TransferError) and (error.retry_after or 0.0) <= MAX_WAIT_SECONDS


def _wait_seconds(state: RetryCallState) -> float:
    """Exponential backoff with jitter, or what the server asked for if that is longer."""
    error = state.outcome.exception() if state.outcome else None
    asked_for = error.retry_after if isinstance(error, TransferError) else None
    return max(BACKOFF(state), asked_for or 0.0)
