"""Tells the ledger at intervals that work goes on, and learns whether it is still wanted."""

import logging
import threading
from collections.abc import Callable
from contextvars import copy_context
from types import TracebackType
from typing import Self

from sqlalchemy.exc import SQLAlchemyError

from mernet.db.errors import DbError

log = logging.getLogger(__name__)


class Heartbeat:
    """Calls `beat` every `interval` seconds from a thread of its own, while the block runs.

    `beat` says whether the work is still wanted; once it has said no, `wanted` is False and no
    further call is made. A database that does not answer changes nothing: the next call may.
    """

    def __init__(self, beat: Callable[[], bool], interval: float) -> None:
        self.wanted = True
        self._beat = beat
        self._interval = interval
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=copy_context().run,  # what it logs is about the same work as the caller's
            args=(self._run,),
            name="heartbeat",
            daemon=True,
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while self.wanted and not self._ended.wait(self._interval):
            try:
                self.wanted = self._beat()
            except (SQLAlchemyError, DbError) as error:
                log.warning("the ledger did not take a heartbeat: %s", error)
