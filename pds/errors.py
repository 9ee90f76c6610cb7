"""Errors of this room. Every message says what to do."""

from typing import ClassVar

from mernet.errors import MernetError


class PdsError(MernetError):
    """Base of this room's errors; `reason` is the short text that the ledger stores.

    `is_lasting` says whether the product itself is the cause, so that another attempt would fail
    too. Only then may the failure replace an earlier result.
    """

    reason: ClassVar[str] = "archive error"
    is_lasting: ClassVar[bool] = False


class BadNameError(PdsError):
    """A text is not a 27-character product name."""

    reason = "bad name"


class BadArchiveError(PdsError):
    """A text does not name an archive: it is not a known name, a usable URL or an existing path."""

    reason = "bad archive"


class BadIndexError(PdsError):
    """An index table, its label or an inventory cannot be used to list products."""

    reason = "bad index"


class ShortListingError(BadIndexError):
    """A table or inventory has fewer rows than its label promises."""


class CutLabelError(BadIndexError):
    """The label of a table ends before its END."""


class FetchError(PdsError):
    """A file could not be fetched, and an immediate retry would not help."""

    reason = "transfer failed"


class NotFoundError(FetchError):
    """The file does not exist."""

    reason = "not found"
    is_lasting = True


class ForbiddenError(FetchError):
    """Access to the file is denied."""

    reason = "forbidden"


class TooLargeError(FetchError):
    """The file is larger than the caller accepts."""

    reason = "too large"


class TransferError(FetchError):
    """The transfer broke or the server is busy: the host's fault, which may pass; a retry may help.

    `retry_after` is the number of seconds to wait that the server asked for, None if it sent none.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SlowTransferError(TransferError):
    """The transfer took longer than its time limit; an immediate retry would not help."""


class NotAFileError(TransferError):
    """The server answered with something else, such as a page about maintenance or a login."""


class UnavailableFileError(TransferError):
    """One file cannot be transferred although its host answers."""


class DecodeError(PdsError):
    """The bytes are not a readable image."""

    reason = "undecodable"
    is_lasting = True


class TruncatedError(DecodeError):
    """The file ends before its last pixel.

    It is not lasting: a server that states too short a length looks the same, and proves nothing
    about the file that an earlier result came from.
    """

    reason = "truncated"
    is_lasting = False


class DamagedError(DecodeError):
    """The pixels do not match the checksum in the label."""

    reason = "damaged"


class WrongSizeError(DecodeError):
    """The image has another size than its listing states.

    It is not lasting: the listing may be wrong, which proves nothing about the file.
    """

    reason = "wrong size"
    is_lasting = False


class OversizedError(DecodeError):
    """The label claims more pixels than any MER image has."""

    reason = "too large"


class BlankImageError(DecodeError):
    """The image shows nothing: all pixels that were received have one value."""

    reason = "blank image"
