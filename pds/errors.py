"""What can go wrong in the pds room; every message says what to do."""

from typing import ClassVar

from mernet.errors import MernetError


class PdsError(MernetError):
    """Base of this room's errors; `reason` is the short text that the ledger stores."""

    reason: ClassVar[str] = "archive error"


class BadNameError(PdsError):
    """A text is no 27-character product name."""

    reason = "bad name"


class BadArchiveError(PdsError):
    """What was given as an archive is neither a known name, nor a URL, nor a path."""

    reason = "bad archive"


class BadIndexError(PdsError):
    """An index table, its label or an inventory cannot be used to list products."""

    reason = "bad index"


class FetchError(PdsError):
    """Bytes could not be had, and asking again at once would not help."""

    reason = "transfer failed"


class NotFoundError(FetchError):
    """The archive has no such file."""

    reason = "not found"


class ForbiddenError(FetchError):
    """The archive refuses to hand out the file."""

    reason = "forbidden"


class TooLargeError(FetchError):
    """The file is larger than the caller accepts."""

    reason = "too large"


class TransferError(FetchError):
    """The transfer broke or the server is busy; asking again may help.

    `retry_after` is the number of seconds that the server asked for, None if it did not say.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DecodeError(PdsError):
    """Bytes are not an image that can be read."""

    reason = "undecodable"


class TruncatedError(DecodeError):
    """The file ends before its pixels do."""

    reason = "truncated"


class DamagedError(DecodeError):
    """The pixels are not those that the label was written for."""

    reason = "damaged"


class OversizedError(DecodeError):
    """The image has more pixels than a MER camera can take."""

    reason = "too large"
