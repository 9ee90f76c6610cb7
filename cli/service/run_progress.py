"""The progress of a run, in words and tables."""

from dataclasses import asdict
from typing import Any

from mernet.cli.shared.output import in_words, moment, note, print_table, say
from mernet.db.ledger import LeftOutCount, Run, RunProgress, RunState

ALL_SHOWN, SOME_SHOWN = 5, 2
"""Up to ALL_SHOWN names of left-out products are all shown; of more, SOME_SHOWN."""

CONDITION_WORDS = {
    "listing": "is listing",
    "running": "is running",
    "paused": "is paused",
    "waiting": "is waiting",
    "finished": "has finished",
    "failed": "has failed",
    "cancelled": "was cancelled",
}


def as_json(now: RunProgress) -> dict[str, Any]:
    """Return the progress of a run for JSON, with the condition that tables show."""
    shown = asdict(now)
    return shown | {"run": shown["run"] | {"condition": now.run.condition}}


def describe(now: RunProgress) -> str:
    """Return the progress of a run in one line."""
    run = now.run
    state = f"Run {run.run_id} {CONDITION_WORDS[run.condition]}"
    if run.state is RunState.LISTING:
        return f"{state}: {run.rows_read:,} rows read"
    left = "waiting" if run.state.is_open else "left undone"
    return (
        f"{state}: {now.listed:,} products listed: {now.classified:,} classified, "
        f"{now.failed:,} failed, {now.kept:,} kept, {now.waiting:,} {left}; "
        f"{now.rate:.1f} products/s{_time_left(now)}"
    )


def print_progress(now: RunProgress) -> None:
    """Print the counts of a run, the products left out, and the failures with their reasons."""
    say(describe(now))
    say(_describe_times(now.run))
    if now.kept:
        say(_describe_kept(now))
    _print_what_is_not_listed(now.run)
    if now.run.left_out:
        say()
        print_table(
            ("left out", "products", "names"),
            [
                (reason, entry.count, _product_names(entry))
                for reason, entry in sorted(now.run.left_out.items())
            ],
        )
    if now.failures:
        say()
        print_table(("failed", "products"), list(now.failures.items()))
    if now.failed or now.kept_failed:
        note("`mernet run retry` tries the failed ones again.")


def _print_what_is_not_listed(run: Run) -> None:
    """Print why a run failed or continues without archives, and which are still to be listed."""
    if run.error:
        say(f"Reason: {run.error}", "bold red")
    elif run.listing_error:
        say(f"Continues without an archive: {run.listing_error}", "bold red")
    if run.listing_error:
        note(
            "Remove the cause, then start the run again: what is classified stays and is not "
            "classified again."
        )
    if run.unlisted and run.state is not RunState.LISTING:
        left = "Still to be listed" if run.state.is_open else "Not listed"
        say(f"{left}: {', '.join(run.unlisted)}.", "yellow")


def _describe_times(run: Run) -> str:
    """Return when a run started, and if it has ended, when and after how long."""
    started = f"Started {moment(run.created_at)} UTC"
    if run.finished_at is None:
        return f"{started}."
    took = in_words((run.finished_at - run.created_at).total_seconds())
    return f"{started}, ended {moment(run.finished_at)} UTC, after {took}."


def _describe_kept(now: RunProgress) -> str:
    """Return why the run left the outcomes of some products as they were."""
    earlier = now.kept - now.known
    why = [f"{earlier:,} have an outcome from another run"] if earlier else []
    if now.kept_failed:
        why[-1] += f" ({now.kept_failed:,} of them failed)"
    why += [f"{now.known:,} are in another archive or folder"] if now.known else []
    return f"Kept as they were: {'; '.join(why)}."


def _time_left(now: RunProgress) -> str:
    if now.run.paused:
        return f"; `mernet run resume {now.run.run_id}` continues it"
    if now.seconds_left is None or not now.run.state.is_open:
        return ""
    return f", about {in_words(now.seconds_left)} left"


def _product_names(entry: LeftOutCount) -> str:
    """Return all names if there are few, otherwise some of them."""
    if entry.count <= ALL_SHOWN:
        return ", ".join(entry.examples)
    return ", ".join(entry.examples[:SOME_SHOWN]) + ", ..."
