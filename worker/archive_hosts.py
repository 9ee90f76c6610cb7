"""Archive hosts: one that is down is told apart from a file that cannot be had."""

import logging
import re
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol
from urllib.parse import urlsplit

import sqlalchemy as sa

from mernet.db import obstacles
from mernet.db.obstacles import ObstacleKind, Patience
from mernet.db.products import OtherImage
from mernet.pds.errors import (
    FetchError,
    NotAFileError,
    NotFoundError,
    TooLargeError,
)
from mernet.pds.fetch import Transfers
from mernet.pds.plain_name import is_host_name
from mernet.printable import printable
from mernet.worker.errors import HostDown, MustWait
from mernet.worker.settings import Settings

log = logging.getLogger(__name__)

ROUNDS = 2
"""How often a file is fetched, each time with all its attempts, while its host is fine."""

OTHERS_ASKED = 3
"""How many other files are asked for to find out whether a host is down."""

MESSAGE_BYTES = 64 * 1024
"""A text in place of a product, such as an error in JSON, is not longer."""

LABEL_ENDS = (".xml", ".lblx")
LISTING_ENDS = (".lbl", ".tab", ".csv", ".gz", "/members")

MESSAGE = re.compile(rb"[\t\n\r\x20-\x7e\x80-\xff]*")
LABEL_KEYWORDS = (b"_VERSION_ID", b"CCSD", b"^IMAGE")


@dataclass(frozen=True, slots=True)
class HostRules:
    """How archive hosts are treated.

    Attributes:
        connections: The most connections to one host, of all workers together.
        queue_seconds: How long work waits for a connection before it is postponed.
        lease_seconds: How long a process that has died keeps its connections.
        patience: How long to wait for a host that is down.
    """

    connections: int = 8
    queue_seconds: float = 5.0
    lease_seconds: float = 90.0
    patience: Patience = field(default_factory=lambda: Patience(first=5.0, longest=300.0))

    @classmethod
    def from_settings(cls, config: Settings) -> "HostRules":
        """Return the rules that the settings describe."""
        patience = Patience(config.wait_seconds, config.max_wait_seconds)
        return cls(
            connections=config.connections_per_host,
            lease_seconds=config.lease_seconds,
            patience=patience,
        )


class ImageSource(Protocol):
    """Fetches the bytes of images and labels."""

    @property
    def transfers(self) -> Transfers:
        """What was transferred so far."""

    def fetch(self, url: str) -> bytes:
        """Return all bytes at `url`.

        Raises:
            PdsError: If they cannot be fetched.
        """

    def fetch_once(self, url: str) -> bytes:
        """Return all bytes at `url` in a single attempt; raises as `fetch` does."""

    def reconnect(self) -> None:
        """Let the next requests be made over new connections."""


def host_of(url: str) -> str | None:
    """Return scheme, host and port of an http(s) URL; None for a file or an impossible host."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not is_host_name(parts.hostname or ""):
        return None
    name = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    return f"{parts.scheme}://{name}" + (f":{port}" if port else "")


class HostGuard:
    """Fetches files for a chunk, and notices if their host is down.

    A host is down if a file cannot be had from it and neither can any of a few others there,
    whatever its listing says; a listing there counts if no other file there is known. That a file
    does not exist or is too large is no sign of that. If another one can be had, the file itself is
    the cause.

    Args:
        source: Fetches the files.
        others: Returns a few other images of the archive of a file, from its host if it has any.
        listings: Returns the URLs of the listing of a file's archive.
    """

    def __init__(
        self,
        source: ImageSource,
        others: Callable[[str], Sequence[OtherImage]],
        listings: Callable[[str], Sequence[str]],
    ) -> None:
        self._source = source
        self.others = others
        self._listings = listings
        self._asking = threading.Lock()
        self._asked: dict[str | None, tuple[float, bool]] = {}
        self._down: dict[str, HostDown] = {}

    def fetch(self, url: str) -> bytes:
        """Return the content of an image or label.

        Raises:
            HostDown: Its host is down.
            PdsError: It cannot be fetched; a subclass says why.
        """
        host = host_of(url)
        for _ in range(ROUNDS):
            if host in self._down:
                raise self._down[host]
            try:
                data = self._source.fetch(url)
                _check_is_product(data, url)
            except FetchError as error:
                if not may_be_host_fault(error):
                    raise
                failure = error
            else:
                return data
            if host is not None and not self.answers(url, time.monotonic()):
                raise self._down.setdefault(host, host_down(host, failure)) from failure
        raise failure

    def why_down(self, url: str) -> HostDown | None:
        """Return why the host of a file is down, after single attempts; None if it is not."""
        failure = failure_of(url, self._source)
        host = host_of(url)
        if failure is None or host is None or self.answers(url, time.monotonic()):
            return None
        return host_down(host, failure)

    def answers(self, url: str, since: float) -> bool:
        """Return whether the host of a file has answered for another one since that time."""
        with self._asking:
            host = host_of(url)
            asked_at, answered = self._asked.get(host, (-1.0, False))
            if asked_at < since:
                asked_at = time.monotonic()
                answered = any(
                    failure_of(each, self._source) is None for each in self._others_at_host(url)
                )
                self._asked[host] = asked_at, answered
            return answered

    def has_others(self, url: str) -> bool:
        """Return whether the archive of a file still has other files, so that only this is gone.

        Its listing counts if no other file of it is known.
        """
        return any(map(self._has, self._other_files(url)))

    def _others_at_host(self, url: str) -> Sequence[str]:
        """Return other files at the host of a file, one of each image; else the listing there."""
        host = host_of(url)
        places = ((each.image_url, each.label_url) for each in self.others(url))
        there = ([file for file in files if file and host_of(file) == host] for files in places)
        others = [files[0] for files in there if files]
        return others or [file for file in self._listings(url) if host_of(file) == host]

    def _other_files(self, url: str) -> Sequence[str]:
        return [each.image_url for each in self.others(url)] or self._listings(url)

    def _has(self, url: str) -> bool:
        try:
            _check_is_product(self._source.fetch_once(url), url)
        except FetchError:
            return False
        return True


def may_be_host_fault(error: FetchError) -> bool:
    """Return whether an error may be the fault of a host, not only of the file or its address."""
    return not isinstance(error, NotFoundError | TooLargeError)


def failure_of(url: str, source: ImageSource) -> FetchError | None:
    """Return why a file cannot be had; None if it can, or if a sound host says why it cannot."""
    try:
        _check_is_product(source.fetch_once(url), url)
    except FetchError as error:
        return error if may_be_host_fault(error) else None
    return None


def host_down(host: str, error: FetchError) -> HostDown:
    """Return that a host is down, as the error of one of its files shows."""
    return HostDown(host, str(error), getattr(error, "retry_after", None))


def _check_is_product(data: bytes, url: str) -> None:
    """Raise NotAFileError for what a host sends in place of a product: nothing, or a text."""
    if host_of(url) is None:
        return
    path = urlsplit(url).path.lower()
    is_message = not path.endswith(LISTING_ENDS) and _is_text(data)
    if not data or (is_message and not _is_marked_up(data, path.endswith(LABEL_ENDS))):
        what = "a text" if data else "nothing"
        raise NotAFileError(
            f"{url} was answered with {what} in place of a product; open it in a browser, and try "
            "again later"
        )


def _is_text(data: bytes) -> bool:
    return len(data) <= MESSAGE_BYTES and MESSAGE.fullmatch(data) is not None


def _is_marked_up(data: bytes, is_label: bool) -> bool:
    if is_label:
        return data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<")
    return any(keyword in data for keyword in LABEL_KEYWORDS)


def require_hosts(
    engine: sa.Engine,
    hosts: Collection[str],
    rules: HostRules,
    why_down: Callable[[str], HostDown | None],
    is_asked_for: bool = False,
) -> None:
    """Check that none of these hosts is known to be down; a try that is due is made here.

    Args:
        engine: The database.
        hosts: The hosts that the work needs.
        rules: How long a try may take.
        why_down: Tries a host, and returns why it is down; None if it answers.
        is_asked_for: Whether a person asks for a try now, so that it is always due.

    Raises:
        HostDown: A host was tried and is down.
        MustWait: A host is known to be down, and the next try is not due, or made by another.
    """
    kind = ObstacleKind.ARCHIVE_HOST
    while known := obstacles.last_due_among(engine, kind, hosts):
        host = known.subject
        is_due = is_asked_for or (
            known.seconds_left <= 0 and obstacles.claim_try(engine, kind, host, rules.lease_seconds)
        )
        if not is_due:
            raise MustWait(kind, host, known.seconds_left)
        down = why_down(host)
        if down:
            raise down
        clear_host(engine, host)


def report_host(engine: sa.Engine, down: HostDown, rules: HostRules) -> MustWait:
    """Note that a host is down; return what the work has to wait for."""
    log.warning("%s; the work waits", down)
    kind, patience = ObstacleKind.ARCHIVE_HOST, replace(rules.patience, asked_for=down.retry_after)
    reason = printable(down.cause, 500)
    return MustWait(kind, down.host, obstacles.report(engine, kind, down.host, reason, patience))


def clear_host(engine: sa.Engine, host: str | None) -> None:
    """Note that a host answers; what waited for it is due."""
    if host and obstacles.clear(engine, ObstacleKind.ARCHIVE_HOST, host):
        log.warning("%s answers again; work continues", host)
