"""What can go wrong in the db room; every message says what to do."""

from mernet.errors import MernetError


class DbError(MernetError):
    """Base of this room's errors."""


class ConnectionFailed(DbError):
    """The database cannot be used: bad URL, no answer, or too old a server."""


class SchemaError(DbError):
    """The tables cannot be created, or are of another version than this program's."""


class SchemaOutdated(SchemaError):
    """The tables are missing, or of an older version than this program's."""


class UnknownRun(DbError):
    """No run has this number."""


class RunRefused(DbError):
    """A run cannot be made as asked for."""


class RunClosed(DbError):
    """The run has ended, so it can no longer be changed."""


class UnknownClassifier(DbError):
    """No classifier is registered under this name or hash, or none is current."""


class ClassifierRefused(DbError):
    """A classifier cannot be registered as given."""


class ListingRefused(DbError):
    """A listed product breaks a rule of the product table, or too many are listed no more."""


class OutcomeRefused(DbError):
    """The outcomes of a chunk are incomplete, foreign to it, or no probabilities."""


class QueryRefused(DbError):
    """A search asks for something that does not exist."""


class UnknownProduct(DbError):
    """No such product, or no scores of it under the current classifier."""


class NothingToRollBack(DbError):
    """No other classifier was current before the current one."""


class ThresholdRefused(DbError):
    """A probability threshold is out of range."""


class ClassifierInUse(DbError):
    """A classifier is current or an open run uses it, so its outcomes have to stay."""


class ReaderRefused(DbError):
    """A login's name cannot be used, or it has more rights than a reader's."""
