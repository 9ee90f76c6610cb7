"""Read the labels of wanted products in batches, several at once."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from mernet.pds.errors import BadIndexError
from mernet.pds.product import Product
from mernet.pds.selection import LeftOut, LeftOutReason

BATCH = 256  # labels that are fetched before the first result is used
MOST_ENTRIES = 64 * BATCH  # entries in memory, most of which need no label
# Reasons for leaving a product out now that may not hold at the next listing. A listing that has
# such a product is read again each time, even if the label stays missing or unreadable.
TRANSIENT_REASONS = (LeftOutReason.LABEL_NOT_FOUND, LeftOutReason.UNREADABLE_LABEL)


Wanted = TypeVar("Wanted")


@dataclass(frozen=True, slots=True)
class Unread(Generic[Wanted]):
    """A wanted entry of a listing whose label has to be read."""

    entry: Wanted


def read_labels(
    entries: Iterable[Unread[Wanted] | Product | LeftOut],
    read: Callable[[Wanted], Product | LeftOut],
    threads: int,
    on_all_lost: Callable[[LeftOut], BadIndexError] | None = None,
) -> Iterator[Product | LeftOut]:
    """Yield every entry, in order; those that need their label are read first.

    Args:
        entries: What is listed: already decided, or needing its label.
        read: Reads the label of an entry.
        threads: How many labels are read at a time.
        on_all_lost: Makes the error for a place without any readable label, of one example. It is
            raised after the first full batch, so that a wrong place costs one batch of requests.

    Raises:
        BadIndexError: No label that was needed exists and is readable.
        FetchError: A label cannot be fetched for another reason. Without it, the listing would be
            incomplete and nothing would show that.
    """
    any_readable = False
    lost: LeftOut | None = None
    with ThreadPoolExecutor(threads) as pool:
        for batch in _batches(entries):
            wanted = [entry.entry for entry in batch if isinstance(entry, Unread)]
            if not wanted:
                yield from cast("list[Product | LeftOut]", batch)
                continue
            read_ones = pool.map(read, wanted)
            for entry in batch:
                if not isinstance(entry, Unread):
                    yield entry
                    continue
                decided = next(read_ones)
                if isinstance(decided, LeftOut) and decided.reason in TRANSIENT_REASONS:
                    lost = decided
                else:
                    any_readable = True
                yield decided
            if len(wanted) >= BATCH and lost and not any_readable and on_all_lost:
                raise on_all_lost(lost)
    if lost and not any_readable and on_all_lost:
        raise on_all_lost(lost)


def _batches(
    entries: Iterable[Unread[Wanted] | Product | LeftOut],
) -> Iterator[list[Unread[Wanted] | Product | LeftOut]]:
    """Yield the entries in lists with up to BATCH that need their label.

    Entries that need none do not wait, unless one before them does.
    """
    batch: list[Unread[Wanted] | Product | LeftOut] = []
    unread = 0
    for entry in entries:
        batch.append(entry)
        unread += isinstance(entry, Unread)
        if not unread or unread >= BATCH or len(batch) >= MOST_ENTRIES:
            yield batch
            batch, unread = [], 0
    yield batch
