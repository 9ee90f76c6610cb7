"""The ledger of runs: what is to be done, who does it, what became of it.

Every function takes an engine first, runs in a short transaction of its own and is safe to repeat,
but for `create_run` and `create_retry`. All times are the database's.
"""

from db.ledger.chunks import Chunk, Lost, Split, heartbeat, release, take_chunk
from db.ledger.listing import record_listing, report_rows, take_listing
from db.ledger.progress import Progress, progress
from db.ledger.reconcile import Reconciliation, reconcile
from db.ledger.runs import (
    EXAMPLES_KEPT,
    LeftOutCount,
    NewRun,
    Run,
    RunKind,
    RunState,
    cancel_run,
    create_retry,
    create_run,
    fail_run,
    get_run,
    list_runs,
)
from db.ledger.sweep import exclusive, mark_listing_sent, mark_sent, stale, unsent
from db.rows import ProductRow

__all__ = [
    "EXAMPLES_KEPT",
    "Chunk",
    "LeftOutCount",
    "Lost",
    "NewRun",
    "ProductRow",
    "Progress",
    "Reconciliation",
    "Run",
    "RunKind",
    "RunState",
    "Split",
    "cancel_run",
    "create_retry",
    "create_run",
    "exclusive",
    "fail_run",
    "get_run",
    "heartbeat",
    "list_runs",
    "mark_listing_sent",
    "mark_sent",
    "progress",
    "reconcile",
    "record_listing",
    "release",
    "report_rows",
    "stale",
    "take_chunk",
    "take_listing",
    "unsent",
]
