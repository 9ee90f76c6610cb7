"""The ledger of runs: which products are to be classified, by which worker, with which outcome.

Every function takes an engine first and runs in a short transaction of its own. All are safe to
repeat, except `create_run`, `create_retry`, `record_new` and `forgive_attempt`. All times are the
database's.
"""

from mernet.db.ledger.chunks import (
    Chunk,
    claim_chunk,
    fail_run,
    heartbeat,
    postpone,
    publish_chunk,
    release,
)
from mernet.db.ledger.giving_up import INTERNAL_ERROR, WORKER_LOST, Lost, Split
from mernet.db.ledger.ingest import (
    INGEST_LOCK,
    Harvested,
    Ingested,
    ListedArchives,
    ListedFile,
    harvested_to,
    known_files,
    note_unchanged,
    record_new,
)
from mernet.db.ledger.leases import forgive_attempt
from mernet.db.ledger.listing import (
    NotListed,
    claim_listing,
    record_listing,
    record_not_listed,
    release_listing,
    report_rows,
)
from mernet.db.ledger.locks import (
    LockHolder,
    is_due,
    keep_lock,
    plan_start,
    release_lock,
    seconds_since_start,
    start_if_due,
    take_lock,
)
from mernet.db.ledger.messages import (
    SWEEP_LOCK,
    mark_listing_sent,
    mark_sent,
    mark_unsent,
    stale,
    take_unsent,
    unsent_runs,
)
from mernet.db.ledger.moving import Moved, move_archive
from mernet.db.ledger.progress import (
    FailedProduct,
    RunProgress,
    failed_products,
    progress,
)
from mernet.db.ledger.reconcile import Reconciliation, reconcile
from mernet.db.ledger.retry import create_retry
from mernet.db.ledger.runs import (
    EXAMPLES_KEPT,
    LeftOutCount,
    NewRun,
    Run,
    RunKind,
    RunState,
    add_left_out,
    cancel_run,
    create_run,
    get_run,
    list_runs,
    open_runs,
    pause_run,
    resume_run,
)
from mernet.db.ledger.transfers import RunTransfers, add_transfers, run_transfers
from mernet.db.products import ProductRow

__all__ = [
    "EXAMPLES_KEPT",
    "INGEST_LOCK",
    "INTERNAL_ERROR",
    "SWEEP_LOCK",
    "WORKER_LOST",
    "Chunk",
    "FailedProduct",
    "Harvested",
    "Ingested",
    "LeftOutCount",
    "ListedArchives",
    "ListedFile",
    "LockHolder",
    "Lost",
    "Moved",
    "NewRun",
    "NotListed",
    "ProductRow",
    "Reconciliation",
    "Run",
    "RunKind",
    "RunProgress",
    "RunState",
    "RunTransfers",
    "Split",
    "add_left_out",
    "add_transfers",
    "cancel_run",
    "claim_chunk",
    "claim_listing",
    "create_retry",
    "create_run",
    "fail_run",
    "failed_products",
    "forgive_attempt",
    "get_run",
    "harvested_to",
    "heartbeat",
    "is_due",
    "keep_lock",
    "known_files",
    "list_runs",
    "mark_listing_sent",
    "mark_sent",
    "mark_unsent",
    "move_archive",
    "note_unchanged",
    "open_runs",
    "pause_run",
    "plan_start",
    "postpone",
    "progress",
    "publish_chunk",
    "reconcile",
    "record_listing",
    "record_new",
    "record_not_listed",
    "release",
    "release_listing",
    "release_lock",
    "report_rows",
    "resume_run",
    "run_transfers",
    "seconds_since_start",
    "stale",
    "start_if_due",
    "take_lock",
    "take_unsent",
    "unsent_runs",
]
