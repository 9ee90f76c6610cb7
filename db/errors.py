"""Errors of the db room; a message names the cause and what to do, in general terms."""

from mernet.errors import MernetError


class DbError(MernetError):
    """Base of this room's errors."""


class ConnectionFailed(DbError):
    """The database cannot be used: bad URL, no answer, or too old a server."""


class SchemaError(DbError):
    """The tables cannot be created, or have another version than this program needs."""


class SchemaOutdated(SchemaError):
    """The tables are missing, or have an older version than this program needs."""


class UnknownRun(DbError):
    """No run has this number."""


class NoRuns(UnknownRun):
    """The latest run was asked for, and no run has been created yet."""


class RunRefused(DbError):
    """A run cannot be created with these values."""


class RunClosed(DbError):
    """The run has ended, so it can no longer be changed."""


class UnknownClassifier(DbError):
    """No classifier is registered under this name or hash."""


class NoCurrentClassifier(UnknownClassifier):
    """No classifier has been promoted yet."""


class ClassifierRefused(DbError):
    """A classifier cannot be registered with these values."""


class ClassifierInUse(DbError):
    """The classifier is current, so its outcomes cannot be pruned."""


class ClassifierInOpenRun(ClassifierInUse):
    """An open run uses the classifier, so its outcomes cannot be pruned."""


class NothingToRollBack(DbError):
    """No other classifier was current before the current one."""


class ThresholdRefused(DbError):
    """A probability threshold is out of range."""


class ListingRefused(DbError):
    """A listed product breaks a rule of the product table.

    Attributes:
        source: URL of the archive that lists it; None if it has none.
    """

    def __init__(self, message: str, source: str | None = None) -> None:
        super().__init__(message)
        self.source = source


class UnknownArchive(DbError):
    """No product is known from an archive at this address."""


class TooManyWithdrawn(ListingRefused):
    """An archive no longer lists so many of its products that its index is probably damaged."""


class MayBeListed(DbError):
    """Products would be withdrawn that archives may list which were not read completely."""


class OutcomeRefused(DbError):
    """The outcomes are not those of the chunk's products, or are not probabilities."""


class ReadElsewhere(DbError):
    """Products were read at a place that is not theirs any more; they are to be read again."""


class QueryRefused(DbError):
    """A search asks for something that does not exist."""


class ClassesPruned(QueryRefused):
    """The classifier's published classes were pruned; only its scores are stored."""


class NoScores(DbError):
    """A product has no scores under the current classifier."""


class UnknownProduct(NoScores):
    """No product with this name was ever listed."""


class NotClassified(NoScores):
    """The product is listed, but has no outcome under the current classifier yet."""


class ProductFailed(NoScores):
    """The product failed under the current classifier."""


class LockHeld(DbError):
    """Another process does what only one may do at a time."""


class LockLost(DbError):
    """A process was stopped for so long that another one took its lock."""


class ReaderRefused(DbError):
    """A login's name cannot be used, or it has more rights than a reader's."""


class RolesRefused(DbError):
    """The logins of the service cannot be created."""
