"""`mernet status` and `mernet reconcile`: a run's progress, and the proof that it is complete."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from mernet.cli.service.exit_codes import NOT_COMPLETE, PRODUCTS_FAILED
from mernet.cli.service.follow_run import follow_run
from mernet.cli.service.learned_types import other_types_warning
from mernet.cli.service.run_progress import as_json as progress_as_json
from mernet.cli.service.run_progress import print_progress
from mernet.cli.service.waiting import all_obstacles, marked_as_waiting, print_obstacles
from mernet.cli.shared.connections import ledger
from mernet.cli.shared.errors import with_advice
from mernet.cli.shared.output import AsJson, note, print_json, print_table, say
from mernet.db import classifiers
from mernet.db.ledger import (
    FailedProduct,
    Reconciliation,
    Run,
    RunProgress,
    failed_products,
    get_run,
    open_runs,
    run_transfers,
)
from mernet.db.ledger import progress as read_progress
from mernet.db.ledger import reconcile as check_completeness
from mernet.worker.app import QueueName
from mernet.worker.broker import BrokerState, broker_state
from mernet.worker.errors import BrokerError

NEEDED_QUEUES = {"listing": QueueName.LISTING, "running": QueueName.CLASSIFY}
"""The queue that a worker must consume for a run in this state to make progress."""

COMPLETE = (
    "Complete: every listed product has a result, and the published rows are exactly those that "
    "the scores imply."
)

RunId = Annotated[int | None, typer.Argument(help="Number of a run; by default the latest.")]


def status(
    run_id: RunId = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show the progress live until the run has ended.")
    ] = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="List each failed product of the run and the reason.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show a run's progress, what work waits for, products that failed, and the workers.

    Servers that were stopped are named, not started.
    """
    engine = ledger(may_start=False)
    now = read_progress(engine, run_id)
    if follow and now.run.state.is_open:
        now = follow_run(engine, now.run.run_id, may_start_worker=False)
    failures = failed_products(engine, now.run.run_id) if failed else None
    others = [each for each in open_runs(engine) if each.run_id != now.run.run_id]
    transfers = run_transfers(engine, now.run.run_id)
    obstacles = all_obstacles(engine)
    now = marked_as_waiting(now, obstacles)
    state = _ask_broker()
    if as_json:
        waiting = {"obstacles": [asdict(each) for each in obstacles]}
        print_json(
            progress_as_json(now)
            | asdict(transfers)
            | waiting
            | _json_besides_progress(failures, others, state)
        )
        return
    print_progress(now)
    say(f"Fetched {transfers.fetched_bytes:,} bytes, with {transfers.retries:,} retries.")
    print_obstacles(obstacles)
    used = classifiers.get(engine, now.run.classifier)
    if warning := other_types_warning(used.name, used.header, now.run.products):
        note(warning)
    if failures:
        _print_failures(failures)
    if run_id is None and others:
        open_ones = ", ".join(f"run {each.run_id} ({each.condition})" for each in others)
        say(f"Also open: {open_ones}")
    if state:
        _print_broker(now, state)


def reconcile(run_id: RunId = None, as_json: AsJson = False) -> None:
    """Prove that a run is complete: listed = classified + failed + kept, and the tables agree.

    Kept are products whose outcome the run left as it was. The exit code is 1 if the run is not
    complete (yet), 3 if it is complete but products failed, in it or in a run before.
    """
    engine = ledger()
    run = get_run(engine, run_id)
    found = check_completeness(engine, run.run_id)
    if as_json:
        print_json(asdict(found) | {"ok": found.ok})
    else:
        print_table(
            (
                "run", "state", "listed", "classified", "failed", "kept", "missing", "twice",
                "wrong rows",
            ),
            [
                (
                    found.run_id, found.state, found.listed, found.classified, found.failed,
                    found.kept, found.missing, found.twice, found.wrong_rows,
                )
            ],
        )  # fmt: skip
        if found.ok:
            note(f"{_describe_failures(found)}{COMPLETE}")
        else:
            where = f"`mernet status {found.run_id}` shows how far the run got."
            note(f"Not complete; {_describe_not_listed(run)}{where}")
    if not found.ok:
        raise typer.Exit(NOT_COMPLETE)
    if found.failed or found.kept_failed:
        raise typer.Exit(PRODUCTS_FAILED)


def _describe_not_listed(run: Run) -> str:
    """Return which archives of a run were not listed, nothing if all were."""
    words = [f"still to be listed: {', '.join(run.unlisted)}"] if run.unlisted else []
    words += [run.listing_error.removesuffix(".")] if run.listing_error else []
    return "".join(f"{each}; " for each in words)


def _describe_failures(found: Reconciliation) -> str:
    """Return sentences about the failures of a complete run, nothing without any."""
    in_run = f"{found.failed:,} products failed in this run. " if found.failed else ""
    before = f"{found.kept_failed:,} products failed in an earlier run. "
    return in_run + (before if found.kept_failed else "")


def _ask_broker() -> BrokerState | None:
    """Return the broker's state, or None with a note if it does not answer.

    Progress comes from the ledger, so the command continues without a broker.
    """
    try:
        return broker_state()
    except BrokerError as error:
        note(with_advice(error))
        return None


def _print_failures(failures: Sequence[FailedProduct]) -> None:
    say()
    print_table(
        ("product", "reason", "detail"),
        [(each.product_id, each.reason, each.detail) for each in failures],
    )


def _print_broker(now: RunProgress, state: BrokerState) -> None:
    say()
    queues = [(queue, count, state.consumers[queue]) for queue, count in state.waiting.items()]
    unacknowledged = ("unacknowledged", state.unacknowledged, None)
    print_table(("queue", "messages", "workers"), [*queues, unacknowledged])
    if not state.workers:
        note("No worker answers; start one with `mernet worker`.")
        return
    say(f"Workers that answer: {', '.join(state.workers)}")
    for queue in _queues_without_worker(now, state):
        note(
            f"Work waits in the queue {queue}, which no worker consumes; start one with `mernet "
            f"worker --queue {queue} --no-scheduler --name {queue}`."
        )


def _queues_without_worker(now: RunProgress, state: BrokerState) -> list[str]:
    """Return the queues that no worker consumes although messages wait or the run needs them."""
    needed = set() if now.run.paused else {NEEDED_QUEUES.get(now.run.state)}
    if now.run.state.is_open and now.run.unlisted:
        needed.add(QueueName.LISTING)
    return [
        queue
        for queue, consumers in state.consumers.items()
        if not consumers and (state.waiting[queue] or queue in needed)
    ]


def _json_besides_progress(
    failures: Sequence[FailedProduct] | None, others: Sequence[Run], state: BrokerState | None
) -> dict[str, Any]:
    """Return what the JSON has besides the progress; failed products only if asked for."""
    listed = {} if failures is None else {"failed_products": [asdict(each) for each in failures]}
    return listed | {
        "also_open": [each.run_id for each in others],
        "broker": asdict(state) if state else None,
    }
