"""`mernet status` and `mernet reconcile`: how far a run is, and the proof that it is complete."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.context import ledger
from cli.exits import NOT_AS_ASKED, PRODUCTS_FAILED
from cli.output import AsJson, note, out, print_json, print_table

if TYPE_CHECKING:
    from db.ledger import LeftOutCount, Progress
    from worker.broker import BrokerState

ALL_SHOWN, SOME_SHOWN = 5, 2
RunId = Annotated[int | None, typer.Argument(help="Number of a run; by default the latest.")]


def status(
    run_id: RunId = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show it live until the run has ended.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show how far a run is, what was left out, what failed and why, and who works on it."""
    from cli import progress
    from cli.crew import Crew
    from db.ledger import progress as read_progress

    engine = ledger()
    now = read_progress(engine, run_id)
    if follow and now.run.state.is_open:
        with Crew(hire=False) as crew:
            now = progress.follow(engine, now.run.run_id, crew)
    state = _broker_state()
    if as_json:
        print_json(as_dict(now) | {"broker": asdict(state) if state else None})
    else:
        print_progress(now)
        if state:
            _print_broker(state)


def reconcile(run_id: RunId = None, as_json: AsJson = False) -> None:
    """Prove that a run is complete: listed = classified + failed, and the table says the same.

    The exit code is 1 when it is not (yet), 3 when it is but products failed.
    """
    from db.ledger import get_run
    from db.ledger import reconcile as check

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


def print_progress(now: "Progress") -> None:
    """Print a run's counts, the products left out and the failures."""
    from cli.progress import describe

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


def _broker_state() -> "BrokerState | None":
    """None, and a note, where the broker does not answer: the ledger tells the rest."""
    from worker.broker import broker_state
    from worker.errors import BrokerError

    try:
        return broker_state()
    except BrokerError as error:
        note(str(error))
        return None


def _print_broker(state: "BrokerState") -> None:
    out.print()
    print_table(("queue", "messages"), [*state.waiting.items(), ("in hand", state.in_hand)])
    if state.workers:
        out.print(f"Workers that answer: {', '.join(state.workers)}", markup=False, soft_wrap=True)
    else:
        note("No worker answers; start one with `mernet worker`.")


def _some(entry: "LeftOutCount") -> str:
    """All names of a few, some names of many."""
    if entry.count <= ALL_SHOWN:
        return ", ".join(entry.examples)
    return ", ".join(entry.examples[:SOME_SHOWN]) + ", ..."


def as_dict(now: "Progress") -> dict[str, Any]:
    """A run's progress as JSON shows it."""
    return asdict(now)
