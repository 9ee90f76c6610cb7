"""Sends heartbeats to the ledger while work runs, and notices when the work should stop."""

import logging
import threading
from collections.abc import Callable
from contextvars import copy_context
from types import TracebackType
from typing import Self

from mernet.printable import printable
from mernet.worker.faults import is_fault

log = logging.getLogger(__name__)


class Heartbeat:
    """Calls `beat` every `interval` seconds in a thread of its own while the block runs.

    `beat` returns whether the work is still wanted. After it has returned False, `wanted` is False
    and `beat` is not called again. After a fault of the database or of this machine, the next call
    is made as usual.
    """

    def __init__(self, beat: Callable[[], bool], interval: float) -> None:
        self.wanted = True
        self._beat = beat
        self._interval = interval
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=copy_context().run,  # gives its log lines the same fields as the caller's
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
            except Exception as error:
                if not is_fault(error):
                    raise
                log.warning("heartbeat not recorded: %s", printable(error))
