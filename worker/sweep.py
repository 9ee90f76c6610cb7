"""The sweep over the ledger: sends messages that are missing, and those of stalled work again."""

import logging

import sqlalchemy as sa

from mernet.db import ledger, obstacles
from mernet.worker.broker import waiting_subjects
from mernet.worker.sending import send_again, send_chunks, subject

log = logging.getLogger(__name__)

RESEND_SECONDS = 10.0
"""Seconds after which a message that neither waits nor led to a claim counts as lost."""


def resend_stalled(engine: sa.Engine, lease_seconds: float) -> int:
    """Sweep the ledger: send what has no message, or whose message or worker is lost.

    Obstacles of one host are cleared if its workers are gone, or no open run waits for them.

    What still waits in the broker's queues is not sent again. A message too many does no harm: work
    that has a claimant is not started again.

    Returns:
        The number of messages sent.

    Raises:
        BrokerError: If the broker does not answer.
    """
    for kind, name in obstacles.clear_forgotten(engine):
        log.info("the obstacle %s %s is cleared: nothing waits for it any more", kind, name)
    stalled = ledger.stale(engine, lease_seconds, min(lease_seconds, RESEND_SECONDS))
    waiting = waiting_subjects() if stalled else frozenset()
    sent = 0
    for run_id, number in stalled:
        if subject(run_id, number) not in waiting:
            send_again(engine, run_id, number)
            sent += 1
    for run_id in ledger.unsent_runs(engine):
        sent += send_chunks(engine, run_id)
    if sent:
        log.info("%d messages sent that were missing", sent)
    return sent
