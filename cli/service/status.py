"""`mernet status` and `mernet reconcile`: how far a run is, and the proof that it is complete."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from mernet.cli.service import run_progress
from mernet.cli.service.exit_codes import NOT_AS_ASKED, PRODUCTS_FAILED
from mernet.cli.service.run_progress import describe
from mernet.cli.service.temporary_worker import Crew
from mernet.cli.shared.connections import ledger
from mernet.cli.shared.output import AsJson, note, out, print_json, print_table
from mernet.db.ledger import (
    FailedProduct,
    LeftOutCount,
    Run,
    RunProgress,
    failed_products,
    get_run,
    open_runs,
)
from mernet.db.ledger import progress as read_progress
from mernet.db.ledger import reconcile as check
from mernet.worker.broker import BrokerState, broker_state
from mernet.worker.errors import BrokerError

ALL_SHOWN, SOME_SHOWN = 5, 2
NEEDED = {"listing": "listing", "running": "classify"}
"""The queue that a run in this condition needs to be worked on."""

RunId = Annotated[int | None, typer.Argument(help="Number of a run; by default the latest.")]


def status(
    run_id: RunId = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show it live until the run has ended.")
    ] = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="List each product of the run that failed, and why.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show how far a run is, what was left out, what failed and why, and who works on it."""
    engine = ledger()
    now = read_progress(engine, run_id)
    if follow and now.run.state.is_open:
        with Crew(hire=False) as crew:
            now = run_progress.follow(engine, now.run.run_id, crew)
    failures = failed_products(engine, now.run.run_id) if failed else None
    others = [each for each in open_runs(engine) if each.run_id != now.run.run_id]
    state = _broker_state()
    if as_json:
        print_json(as_dict(now) | _more(failures, others, state))
        return
    print_progress(now)
    if failures:
        _print_failures(failures)
    if run_id is None and others:
        open_ones = ", ".join(f"run {each.run_id} ({each.condition})" for each in others)
        out.print(f"Also open: {open_ones}", markup=False, soft_wrap=True)
    if state:
        _print_broker(now, state)


def reconcile(run_id: RunId = None, as_json: AsJson = False) -> None:
    """Prove that a run is complete: listed = classified + failed, and the table says the same.

    The exit code is 1 when it is not (yet), 3 when it is but products failed.
    """
    engine = ledger()
    found = check(engine, get_run(engine, run_id).run_id)
    if as_json:
        print_json(asdict(found) | {"ok": found.ok})
    else:
        print_table(
            ("run", "state", "listed", "classified", "failed", "missing", "twice", "wrong rows"),
            [
                (
                    found.run_id, found.state, found.listed, found.classified, found.failed,
                    found.missing, found.twice, found.wrong_rows,
                )
            ],
        )  # fmt: skip
        if found.ok:
            note(
                "Complete: every listed product has one outcome, and the published rows are "
                "exactly those that the scores imply."
            )
        else:
            note("Not complete; `mernet status` tells what is missing.")
    if not found.ok:
        raise typer.Exit(NOT_AS_ASKED)
    if found.failed:
        raise typer.Exit(PRODUCTS_FAILED)


def print_progress(now: RunProgress) -> None:
    """Print a run's counts, the products left out and the failures."""
    out.print(describe(now), markup=False, soft_wrap=True)
    if now.run.error:
        out.print(f"Reason: {now.run.error}", style="bold red", markup=False, soft_wrap=True)
    if now.run.left_out:
        out.print()
        print_table(
            ("left out", "products", "names"),
            [
                (reason, entry.count, _some(entry))
                for reason, entry in sorted(now.run.left_out.items())
            ],
        )
    if now.failures:
        out.print()
        print_table(("failed", "products"), list(now.failures.items()))
    if now.failed or now.already_failed:
        note("`mernet run retry` tries the failed ones again.")


def _broker_state() -> BrokerState | None:
    """None, and a note, where the broker does not answer: the ledger tells the rest."""
    try:
        return broker_state()
    except BrokerError as error:
        note(str(error))
        return None


def _print_failures(failures: Sequence[FailedProduct]) -> None:
    out.print()
    print_table(
        ("product", "reason", "detail"),
        [(each.product_id, each.reason, each.detail) for each in failures],
    )


def _print_broker(now: RunProgress, state: BrokerState) -> None:
    out.print()
    queues = [(queue, count, state.consumers[queue]) for queue, count in state.waiting.items()]
    pending = ("unacknowledged", state.unacknowledged, None)
    print_table(("queue", "messages", "workers"), [*queues, pending])
    if not state.workers:
        note("No worker answers; start one with `mernet worker`.")
        return
    out.print(f"Workers that answer: {', '.join(state.workers)}", markup=False, soft_wrap=True)
    for queue in _unattended(now, state):
        note(
            f"Work waits in the queue {queue}, which no worker consumes; start one with `mernet "
            f"worker --queue {queue} --no-beat --name {queue}`."
        )


def _unattended(now: RunProgress, state: BrokerState) -> list[str]:
    """The queues in which work waits, be it of this run or messages, and that nobody consumes."""
    needed = NEEDED.get(now.run.condition)
    return [
        queue
        for queue, consumers in state.consumers.items()
        if not consumers and (state.waiting[queue] or queue == needed)
    ]


def _some(entry: LeftOutCount) -> str:
    """All names of a few, some names of many."""
    if entry.count <= ALL_SHOWN:
        return ", ".join(entry.examples)
    return ", ".join(entry.examples[:SOME_SHOWN]) + ", ..."


def _more(
    failures: Sequence[FailedProduct] | None,
    others: Sequence[Run],
    state: BrokerState | None,
) -> dict[str, Any]:
    """What JSON shows besides the run's progress; failed products only where they were read."""
    listed = {} if failures is None else {"failed_products": [asdict(each) for each in failures]}
    return listed | {
        "also_open": [each.run_id for each in others],
        "broker": asdict(state) if state else None,
    }


def as_dict(now: RunProgress) -> dict[str, Any]:
    """A run's progress as JSON shows it."""
    return asdict(now)
