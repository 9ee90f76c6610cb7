"""Gives work back after an attempt that failed. It does not use Celery."""

import logging
import time
from collections.abc import Callable

from mernet.db.engine import is_server_fault
from mernet.db.errors import ConnectionFailed
from mernet.printable import printable

log = logging.getLogger(__name__)

PAUSE_SECONDS = 2.0


def give_back_after(
    error: BaseException,
    release: Callable[[bool], object],
    lease_seconds: float,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Give work back after an error, and say whether the attempt counts.

    It does after an error of the work itself, so that work which always fails ends. It does not if
    the worker was interrupted, or if the database server was at fault. The release is then tried
    again until the lease is over, since a claim that is never given back counts.

    Args:
        error: Why the attempt ended; the caller raises it again.
        release: Gives the work back; its argument says whether the attempt counts.
        lease_seconds: How long the claim lasts.
        pause: Waits that many seconds.
    """
    is_fault = is_server_fault(error)
    counted = isinstance(error, Exception) and not is_fault
    end = time.monotonic() + (lease_seconds if is_fault else 0)
    while True:
        try:
            release(counted)
            return
        except ConnectionFailed as failure:  # which is not to hide why the attempt ended
            if time.monotonic() >= end:
                log.warning("work is given back only when its lease ends: %s", printable(failure))
                return
        pause(PAUSE_SECONDS)
