"""Gives work back after an attempt that failed. It does not use Celery."""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from mernet.db import ledger
from mernet.db.engine import is_server_fault
from mernet.db.errors import ConnectionFailed
from mernet.db.ledger import NotListed
from mernet.db.obstacles import ObstacleKind
from mernet.printable import printable
from mernet.worker.faults import Fault, database_name, fault_of, report
from mernet.worker.task_result import TaskResult

log = logging.getLogger(__name__)

PAUSE_SECONDS = 2.0
"""Seconds between two attempts to give work back."""

PAUSE_UNREPORTED = 10.0
"""Seconds that a process waits for what cannot be reported, so that nobody knows to wait."""


@dataclass(frozen=True, slots=True)
class Claimed(ABC):
    """Work that this process has claimed.

    Attributes:
        engine: The ledger.
        run_id: The run.
        claimant: The name under which it was claimed.
        pause: Waits that many seconds.
    """

    engine: sa.Engine
    run_id: int
    claimant: str
    pause: Callable[[float], None] = time.sleep

    @abstractmethod
    def release(self, error: BaseException) -> bool:
        """Give the work back, due at once; False if another has claimed it meanwhile.

        The attempt counts if the error is one of the work itself.
        """

    @abstractmethod
    def postpone(self, fault: Fault) -> bool:
        """Give the work back, to wait for a fault that is reported; False as for `release`."""

    @abstractmethod
    def forgive(self) -> None:
        """Take back the count of an attempt whose work another has claimed meanwhile."""

    def give_back_after(self, error: BaseException) -> TaskResult | None:
        """Give the work back after an error, and say whether the attempt counts.

        It does after an error of the work itself, so that work which always fails ends; not if the
        worker was interrupted. After a fault of the database or of this machine it does not either,
        and the work waits until the fault has passed.

        Returns:
            That the work waits; None if the caller is to raise the error again.
        """
        fault = fault_of(error, self.engine) if isinstance(error, Exception) else None
        if fault:
            log.warning("run %d waits: %s", self.run_id, fault.reason)
            return self.wait_for(fault)
        try:
            self.release(error)
        except Exception as failure:
            if not is_server_fault(failure):
                raise
            log.warning("work is given back only when its lease ends: %s", printable(failure))
        return None

    def wait_for_database(self, error: ConnectionFailed) -> TaskResult:
        """Put off work of which it is not known whether the database has noted the claim."""
        fault = Fault(ObstacleKind.DATABASE, database_name(self.engine), printable(error))
        log.warning("run %d waits: %s", self.run_id, fault.reason)
        return self.wait_for(fault, is_claimed=False)

    def wait_for(self, fault: Fault, is_claimed: bool = True) -> TaskResult:
        """Put the work off until a fault has passed; the attempt does not count.

        If the database cannot be written, this is tried until it can: without an answer nothing
        else can be done, and a claim that is never given back counts.
        """
        while True:
            try:
                seconds = self._put_off(fault, is_claimed)
            except Exception as failure:
                if not is_server_fault(failure):
                    raise
                self.pause(PAUSE_SECONDS)
            else:
                return TaskResult(f"waits {seconds:.0f} s for the {fault.kind} {fault.subject}")

    def _put_off(self, fault: Fault, is_claimed: bool) -> float:
        """Report a fault and give the work back until the next try, in how many seconds it is.

        On a full disk there may be room for the one and not for the other; this process then waits.
        """
        try:
            seconds = report(self.engine, fault)
        except Exception as failure:
            if not is_server_fault(failure):
                raise
            seconds = PAUSE_UNREPORTED
            self.pause(seconds)
        if not self.postpone(fault) and is_claimed:  # another has claimed it meanwhile
            self.forgive()
        return seconds


@dataclass(frozen=True, slots=True)
class ClaimedChunk(Claimed):
    """A chunk that this process has claimed.

    Attributes:
        number: The chunk's number in its run.
        sources: The archives that list its products; empty if they are not known.
    """

    number: int = 0
    sources: frozenset[str] = frozenset()

    def release(self, error: BaseException) -> bool:
        """Give the chunk back, as `Claimed.release`."""
        counted = isinstance(error, Exception)
        text = f"{type(error).__name__}: {printable(error)}"
        return ledger.release(
            self.engine, self.run_id, self.number, self.claimant, counted, error=text
        )

    def postpone(self, fault: Fault) -> bool:
        """Give the chunk back; after a fault of the database, those of the same archives wait."""
        sources = self.sources if fault.kind is ObstacleKind.DATABASE else ()
        return ledger.postpone(
            self.engine,
            self.run_id,
            self.number,
            self.claimant,
            fault.kind,
            fault.subject,
            sources,
        )

    def forgive(self) -> None:
        """Take back the count of the attempt, as `Claimed.forgive`."""
        ledger.forgive_attempt(self.engine, self.run_id, self.number)


@dataclass(frozen=True, slots=True)
class ClaimedListing(Claimed):
    """The listing of a run that this process has claimed.

    Attributes:
        archives: The archives that are still to be listed; None if they are not known.
    """

    archives: tuple[str, ...] | None = None

    def release(self, error: BaseException) -> bool:
        """Give the listing back, as `Claimed.release`."""
        counted = isinstance(error, Exception)
        return ledger.release_listing(self.engine, self.run_id, self.claimant, counted=counted)

    def postpone(self, fault: Fault) -> bool:
        """Give the listing back until the next try."""
        if self.archives is None:
            return ledger.release_listing(self.engine, self.run_id, self.claimant, counted=False)
        waits = ((fault.kind, fault.subject),)
        return ledger.record_not_listed(
            self.engine, self.run_id, self.claimant, NotListed(self.archives, waits=waits)
        )

    def forgive(self) -> None:
        """Take back the count of the attempt, as `Claimed.forgive`."""
        ledger.forgive_attempt(self.engine, self.run_id, None)
