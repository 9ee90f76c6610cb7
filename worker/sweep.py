"""The sweep over the ledger: sends the messages of stalled work again."""

import logging
from collections import defaultdict

import sqlalchemy as sa

from mernet.db import ledger
from mernet.worker.broker import count_waiting_chunk_messages
from mernet.worker.sending import send_chunks, send_listing

log = logging.getLogger(__name__)


def resend_stalled(engine: sa.Engine, lease_seconds: float) -> int:
    """Sweep the ledger: send again the messages of work without progress for the lease time.

    Chunks are not sent again while the chunk queue still holds messages: they only wait their turn.
    If several sweeps run at once, only one of them sends.

    Returns:
        The number of messages sent.

    Raises:
        BrokerError: If the broker does not answer.
    """
    with ledger.exclusive(engine, "sweep") as is_only_sweep:
        if not is_only_sweep:
            return 0
        sent = 0
        chunks: defaultdict[int, list[int]] = defaultdict(list)
        for run_id, number in ledger.stale(engine, lease_seconds, lease_seconds):
            if number is None:
                send_listing(engine, run_id)
                sent += 1
            else:
                chunks[run_id].append(number)
        if chunks and count_waiting_chunk_messages() == 0:
            for run_id, numbers in chunks.items():
                send_chunks(engine, run_id, numbers)
                sent += len(numbers)
        if sent:
            log.info("%d messages sent again", sent)
        return sent
