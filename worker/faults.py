"""Faults that no product is the cause of: of the database, of this machine, of its device.

Work that meets one is put off, uncounted, and continues by itself when the fault has passed.
"""

import errno
import logging
import mmap
import platform
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from mernet.db import obstacles
from mernet.db.engine import is_server_fault, server_fault
from mernet.db.obstacles import ObstacleKind, Patience
from mernet.model.device import is_device_fault
from mernet.printable import LONGEST_DETAIL, printable

log = logging.getLogger(__name__)

DEEPEST = 10
"""Errors nested more deeply are not looked at."""

DATABASE_PATIENCE = Patience(first=5, longest=60)
MACHINE_PATIENCE = Patience(first=10, longest=10)

STALE_SECONDS = 60.0
"""An obstacle that nobody has met for this long may be of a process that has died."""

NO_MEMORY = "no memory is left"

ERRNOS = {
    errno.ENOSPC: "no disk space is left",
    errno.EDQUOT: "the disk quota is used up",
    errno.EMFILE: "the process has too many open files",
    errno.ENFILE: "too many files are open",
    errno.ENOMEM: NO_MEMORY,
}
"""What the operating system lacks, by the number of its error."""

TEXTS = {
    "No usable temporary directory": "no temporary file can be written",
    "can't start new thread": "no more threads can be started",
    "DefaultCPUAllocator": NO_MEMORY,
    "can't allocate memory": NO_MEMORY,
}
"""What the machine lacks, by a part of the text of an error that has no such number."""

MORE_THAN_A_PRODUCT_NEEDS = 256 * 2**20
"""Bytes."""

Key = tuple[ObstacleKind, str]
"""An obstacle's kind and subject."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that no product is the cause of.

    Attributes:
        kind: What has it.
        subject: Which one.
        reason: A sentence that says what is wrong.
    """

    kind: ObstacleKind
    subject: str
    reason: str


def fault_of(error: BaseException, engine: sa.Engine) -> Fault | None:
    """Return the fault that an error, or one that it was made from, tells of; None if none."""
    for each in _nested(error):
        text = printable(each, LONGEST_DETAIL)
        if is_server_fault(each):
            reason = printable(server_fault(each), LONGEST_DETAIL)
            return Fault(ObstacleKind.DATABASE, database_name(engine), reason)
        if is_device_fault(each):
            return Fault(ObstacleKind.DEVICE, device_name(), text)
        if lack := _lack(each):
            cause = f"{type(each).__name__}: {text}" if text else type(each).__name__
            return Fault(
                ObstacleKind.MACHINE, platform.node(), f"On {platform.node()} {lack} ({cause})."
            )
    return None


def is_fault(error: BaseException) -> bool:
    """Return whether an error tells of a fault, as `fault_of`."""
    return any(
        is_server_fault(each) or is_device_fault(each) or _lack(each) for each in _nested(error)
    )


def needs_too_much_memory(error: BaseException) -> bool:
    """Return whether work met the end of memory of which this process has some again without it."""
    return any(_lack(each) == NO_MEMORY for each in _nested(error)) and is_memory_left()


def is_memory_left() -> bool:
    """Return whether this process may have more memory than any product needs."""
    try:
        mmap.mmap(-1, MORE_THAN_A_PRODUCT_NEEDS).close()
    except OSError:
        return False
    return True


def database_name(engine: sa.Engine) -> str:
    """Return the name of the database, by which it is an obstacle."""
    return engine.url.database or "postgres"


def device_name() -> str:
    """Return what the device of this host is called as an obstacle."""
    return f"of {platform.node()}"


def machine_and_database(engine: sa.Engine) -> list[Key]:
    """Return the obstacles that work of any kind, if it succeeds, shows not to be there."""
    return [
        (ObstacleKind.DATABASE, database_name(engine)),
        (ObstacleKind.MACHINE, platform.node()),
    ]


def report(engine: sa.Engine, fault: Fault) -> float:
    """Note a fault; return seconds until the next try."""
    is_database = fault.kind is ObstacleKind.DATABASE
    patience = DATABASE_PATIENCE if is_database else MACHINE_PATIENCE
    return obstacles.report(engine, fault.kind, fault.subject, fault.reason, patience)


class Proof:
    """What this process has shown to be no obstacle any more, by work that succeeded."""

    def __init__(self) -> None:
        self._shown: set[Key] = set()

    def forget(self, key: Key) -> None:
        """Note that this process has met an obstacle."""
        self._shown.discard(key)

    def clear_shown(self, engine: sa.Engine, keys: Collection[Key]) -> None:
        """Clear the obstacles that work of this process has just shown to be gone.

        There is one database for all, so whoever has used it shows that it is fine. Of the others,
        one that another process on this host has met lately stays, since that process may still
        meet it; after `STALE_SECONDS` it may have died.
        """
        for key, age in obstacles.seconds_since_met(engine, keys).items():
            kind, subject = key
            is_shown = kind is ObstacleKind.DATABASE or key not in self._shown
            if (is_shown or age >= STALE_SECONDS) and obstacles.clear(engine, kind, subject):
                log.warning("the %s %s can be used again", kind, subject)
        self._shown |= set(keys)


def _lack(error: BaseException) -> str | None:
    if isinstance(error, MemoryError):
        return NO_MEMORY
    if isinstance(error, OSError) and error.errno in ERRNOS:
        return ERRNOS[error.errno]
    if isinstance(error, OSError | RuntimeError):
        return next((lack for text, lack in TEXTS.items() if text in str(error)), None)
    return None


def _nested(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it was made from, each once, the outermost first."""
    found = [error]
    for each in found:
        yield each
        context = None if each.__suppress_context__ else each.__context__
        inner = (each.__cause__, context, getattr(each, "reason", None), *each.args)
        known = {id(one) for one in found}
        found += [one for one in inner if isinstance(one, BaseException) and id(one) not in known][
            : DEEPEST - len(found)
        ]
