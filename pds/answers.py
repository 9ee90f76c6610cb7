"""Whether an http answer is the file that was asked for: its status, size, range and content."""

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import IO

import requests

from mernet.pds.errors import (
    FetchError,
    ForbiddenError,
    NotAFileError,
    NotFoundError,
    SlowTransferError,
    TooLargeError,
    TransferError,
)
from mernet.pds.transport import decoded_blocks
from mernet.printable import printable

BUSY = (408, 425, 429)  # request time-out, too early, too many requests
LONGEST_REST_SECONDS = 7 * 86400.0  # the longest Retry-After that is believed
FROM_FIRST_BYTE = re.compile(r"\s*bytes\s+0*0-", re.IGNORECASE)
SECONDS = re.compile(r"\d+", re.ASCII)
PAGE_BYTES = 1024
PAGE = re.compile(
    rb"(\xef\xbb\xbf)?\s*(?>(<!--.*?-->\s*)*)(<\?xml[^>]*>\s*)?<(!doctype\s+html|html|head|body)\b",
    re.IGNORECASE | re.DOTALL,
)
"""How a web page begins."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The maximum size and duration of one transfer."""

    max_bytes: int
    total_seconds: float


def write_body(
    response: requests.Response, sink: IO[bytes], limits: Limits, url: str, enough: int | None
) -> None:
    """Write the response body into `sink`; urllib3 raises if it is shorter than Content-Length.

    What a server sends beyond Content-Length is no part of the response (RFC 9112, 6.3), and its
    connection is not used again.
    """
    deadline = time.monotonic() + limits.total_seconds
    for block in decoded_blocks(response.raw, response.headers.get("Content-Encoding", ""), url):
        try:
            sink.write(block)
        except OSError as error:
            raise FetchError(
                f"{printable(url)} cannot be stored: {printable(error)}; free disk space"
            ) from error
        check_size(sink.tell(), limits, url)
        if enough is not None and sink.tell() >= enough:
            return
        if time.monotonic() > deadline:
            raise SlowTransferError(
                f"{printable(url)} did not arrive within {limits.total_seconds:g} s; "
                "raise the transfer's time limit or use a faster mirror"
            )


def check_is_file(sink: IO[bytes], url: str) -> None:
    """Raise NotAFileError for a web page: no file of an archive is one."""
    end = sink.tell()
    sink.seek(0)
    start = sink.read(PAGE_BYTES)
    sink.seek(end)
    if PAGE.match(start):
        raise NotAFileError(
            f"{printable(url)} was answered with a web page, such as one about maintenance or a "
            "login; open it in a browser, and try again later"
        )


def check_status(response: requests.Response, url: str) -> None:
    """Raise the error that fits the response status, unless it is 200."""
    status = response.status_code
    if status == requests.codes.ok:
        return
    if status in (404, 410):
        raise NotFoundError(
            f"{printable(url)} does not exist ({status}); check the archive's base URL or its "
            "mirror"
        )
    if status in (401, 403):
        raise ForbiddenError(
            f"{printable(url)} was refused ({status}); some hosts refuse automated clients: "
            "give a contact for the User-Agent or use a mirror"
        )
    if status in BUSY or status >= 500:
        seconds = _retry_after(response.headers.get("Retry-After", ""))
        when = f"in {seconds:.0f} s, as it asks," if seconds else "later"
        raise TransferError(
            f"{printable(url)} was answered with {status} (server busy or broken); "
            f"try again {when} or with fewer connections per host",
            seconds,
        )
    raise FetchError(f"{printable(url)} was answered with {status} instead of 200; check the URL")


def check_range(header: str, url: str) -> None:
    """Raise TransferError for a part of a file that does not begin with its first byte."""
    if header and not FROM_FIRST_BYTE.match(header):
        raise TransferError(
            f"{printable(url)} was answered with {printable(header, 40)} instead of its first "
            "bytes; try again later, or use a mirror"
        )


def check_size(size: int, limits: Limits, name: str) -> None:
    """Raise TooLargeError for a size above the limit."""
    if size > limits.max_bytes:
        raise TooLargeError(
            f"{printable(name)} has more than {limits.max_bytes} bytes; check that it is the "
            "right file, and raise the size limit if it is"
        )


def _retry_after(header: str) -> float | None:
    """Return the seconds of a Retry-After header (RFC 9110: seconds or a date), None if invalid."""
    if SECONDS.fullmatch(header.strip()):
        return min(float(header), LONGEST_REST_SECONDS)
    try:
        moment = parsedate_to_datetime(header)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(0.0, seconds), LONGEST_REST_SECONDS)
