"""The reasons for which a product may fail: short texts in the ledger, for `run retry --reason`."""

from collections.abc import Iterator

from mernet.db.ledger import INTERNAL_ERROR, WORKER_LOST
from mernet.pds.errors import PdsError


def failure_reasons() -> list[str]:
    """Return all reasons in alphabetical order."""
    return sorted({*_reasons_of(PdsError), INTERNAL_ERROR, WORKER_LOST})


def _reasons_of(error: type[PdsError]) -> Iterator[str]:
    yield error.reason
    for subclass in error.__subclasses__():
        yield from _reasons_of(subclass)
