"""One http(s) exchange: a session that follows no redirect, and a body decoded within bounds."""

import re
import threading
import zlib
from collections.abc import Iterator
from socket import SHUT_RDWR, socket
from typing import Any, ClassVar
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import get_auth_from_url
from urllib3.connection import HTTPConnection, HTTPSConnection

from mernet.pds.errors import FetchError, TransferError
from mernet.pds.hosts import WEB_SCHEMES
from mernet.printable import printable

BLOCK_BYTES = 64 * 1024
GZIP = zlib.MAX_WBITS | 16
LENGTH = re.compile(r"\d{1,15}", re.ASCII)


class Session(requests.Session):
    """A session that makes single requests: proxies from the environment, no `.netrc`, no cookies.

    Args:
        connections_per_host: The most connections to one host at a time; more requests wait.
        header_seconds: The longest time until the header of a response is complete.
    """

    def __init__(self, connections_per_host: int, header_seconds: float) -> None:
        super().__init__()
        self.auth = _UrlAuth()
        self.headers["Accept-Encoding"] = "gzip"
        for scheme in WEB_SCHEMES:
            self.mount(f"{scheme}://", _Adapter(connections_per_host, header_seconds))

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return None: requests would read the whole body of a redirect, whatever its size."""


class _UrlAuth(AuthBase):
    """The user and password of the URL itself; requests would look into `.netrc` otherwise."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        user, password = get_auth_from_url(request.url or "")
        return HTTPBasicAuth(user, password)(request) if user or password else request


class _Adapter(HTTPAdapter):
    def __init__(self, connections_per_host: int, header_seconds: float) -> None:
        self._header_seconds = header_seconds
        super().__init__(pool_maxsize=connections_per_host, pool_block=True)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pool_classes(self._header_seconds)


class _HeaderDeadline:
    """Ends a response whose header is not complete in time; time-outs of sockets are per byte."""

    header_seconds: ClassVar[float]
    sock: socket | None

    def getresponse(self) -> urllib3.HTTPResponse:
        is_late = threading.Event()

        def hang_up() -> None:
            is_late.set()
            if self.sock is not None:
                self.sock.shutdown(SHUT_RDWR)

        timer = threading.Timer(self.header_seconds, hang_up)
        timer.daemon = True
        timer.start()
        try:
            response: urllib3.HTTPResponse = super().getresponse()  # type: ignore[misc]
        except Exception:  # closing the socket at the deadline raises errors of many kinds
            if is_late.is_set():
                raise TimeoutError(f"no complete header within {self.header_seconds:g} s") from None
            raise
        finally:
            timer.cancel()
        return response


def _pool_classes(header_seconds: float) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    """Return urllib3's pools by scheme, with connections that have a deadline for the header."""
    limit = {"header_seconds": header_seconds}
    http = type("DeadlineConnection", (_HeaderDeadline, HTTPConnection), limit)
    https = type("DeadlineTlsConnection", (_HeaderDeadline, HTTPSConnection), limit)
    return {
        "http": type("HTTPConnectionPool", (urllib3.HTTPConnectionPool,), {"ConnectionCls": http}),
        "https": type(
            "HTTPSConnectionPool", (urllib3.HTTPSConnectionPool,), {"ConnectionCls": https}
        ),
    }


def redirect_target(url: str, location: str, hosts: frozenset[str]) -> str:
    """Return the URL that a redirect of `url` leads to.

    Args:
        url: What was requested.
        location: The header Location.
        hosts: Hosts besides that of `url` to which a redirect may lead.

    Raises:
        FetchError: The redirect leads to no URL of the web, from https to http, or to a host that
            was not asked for.
    """
    try:
        target = urljoin(url, location)
        before, after = urlsplit(url), urlsplit(target)
        ports = before.port, after.port
    except ValueError as error:
        raise FetchError(_redirected(url, location, "which is not a URL")) from error
    if after.scheme not in WEB_SCHEMES or not after.hostname:
        raise FetchError(_redirected(url, location, "which is no http or https URL"))
    if (before.scheme, after.scheme) == ("https", "http"):
        raise FetchError(_redirected(url, location, "which is not encrypted"))
    is_upgrade = (before.scheme, after.scheme) == ("http", "https")
    is_same_host = before.hostname == after.hostname and (ports[0] == ports[1] or is_upgrade)
    if not is_same_host and after.hostname not in hosts:
        raise FetchError(
            _redirected(url, location, "another host; allow redirects to it if it is right")
        )
    return target


def _redirected(url: str, location: str, problem: str) -> str:
    return (
        f"{printable(url)} cannot be fetched: it redirects to {printable(location)}, {problem}; "
        "check the URL"
    )


def content_length(header: str | None, url: str) -> int | None:
    """Return the value of a header Content-Length, None if there is none.

    A number may be there several times, separated by commas (RFC 9110, 8.6).

    Raises:
        TransferError: It is not one whole number.
    """
    if header is None:
        return None
    values = {value.strip() for value in header.split(",")}
    value = values.pop()
    if values or not LENGTH.fullmatch(value):
        raise TransferError(
            f"{printable(url)} was answered with the Content-Length {printable(header, 40)}, which "
            "is not a size; try again later, or use a mirror"
        )
    return int(value)


def check_transfer_encoding(header: str | None, url: str) -> None:
    """Check that a body was sent as it is or in chunks (RFC 9112, 6.1), which urllib3 undoes.

    Raises:
        FetchError: It was sent in another form, which would be taken for the file.
    """
    if header is not None and header.strip().lower() not in ("chunked", "identity", ""):
        raise FetchError(
            f"{printable(url)} was answered with the Transfer-Encoding {printable(header, 40)}, "
            "which was not asked for; use a mirror"
        )


def decoded_blocks(body: urllib3.BaseHTTPResponse, encoding: str, url: str) -> Iterator[bytes]:
    """Yield the body of a response in blocks of 64 KiB at most, decompressed if it is gzip.

    A block is read with a single wait for data, so that the caller may check a deadline.

    Raises:
        FetchError: The body has an encoding that was not asked for.
        TransferError: A compressed body is damaged or ends early.
    """
    blocks = iter(lambda: body.read1(BLOCK_BYTES, decode_content=False), b"")
    match encoding.strip().lower():
        case "" | "identity":
            return blocks
        case "gzip" | "x-gzip":
            return _decompress(blocks, url)
    raise FetchError(
        f"{printable(url)} was answered with the Content-Encoding {printable(encoding, 40)}, which "
        "was not asked for; use a mirror"
    )


def _decompress(blocks: Iterator[bytes], url: str) -> Iterator[bytes]:
    """Yield the content of gzip data, which may have several members (RFC 1952, 2.2)."""
    decoder = zlib.decompressobj(GZIP)
    is_begun = False
    try:
        for block in blocks:
            rest = block
            while rest:
                if decoder.eof:
                    decoder = zlib.decompressobj(GZIP)
                is_begun = True
                yield decoder.decompress(rest, BLOCK_BYTES)
                rest = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
        while is_begun and not decoder.eof:
            more = decoder.decompress(b"", BLOCK_BYTES)
            if not more:
                break
            yield more
    except zlib.error as error:
        raise TransferError(
            f"{printable(url)} arrived with damaged compression ({error}); try again later"
        ) from error
    if is_begun and not decoder.eof:
        raise TransferError(f"{printable(url)} arrived incomplete; try again later")
