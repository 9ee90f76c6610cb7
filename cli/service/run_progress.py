"""The progress of a run, in words and tables."""

from datetime import timedelta

from mernet.cli.shared.output import note, print_table, say
from mernet.db.ledger import LeftOutCount, RunProgress, RunState

ALL_SHOWN, SOME_SHOWN = 5, 2
"""Up to ALL_SHOWN names of left-out products are all shown; of more, SOME_SHOWN."""

CONDITION_WORDS = {
    "listing": "is listing",
    "running": "is running",
    "paused": "is paused",
    "finished": "has finished",
    "failed": "has failed",
    "cancelled": "was cancelled",
}


def describe(now: RunProgress) -> str:
    """Return the progress of a run in one line."""
    run = now.run
    state = f"Run {run.run_id} {CONDITION_WORDS[run.condition]}"
    if run.state is RunState.LISTING:
        return f"{state}: {run.rows_read:,} rows read"
    done = now.listed - now.waiting
    return (
        f"{state}: {done:,} of {now.listed:,} products done "
        f"({now.classified:,} classified, {now.failed:,} failed, "
        f"{now.already - now.known:,} done by other runs, {now.already_failed:,} of them failed"
        f"{_known_from_archive(now)}), "
        f"{now.rate:.1f} products/s{_time_left(now)}"
    )


def print_progress(now: RunProgress) -> None:
    """Print the counts of a run, the products left out, and the failures with their reasons."""
    say(describe(now))
    if now.run.error:
        say(f"Reason: {now.run.error}", "bold red")
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
    if now.failed or now.already_failed:
        note("`mernet run retry` tries the failed ones again.")


def _known_from_archive(now: RunProgress) -> str:
    return f", {now.known:,} not classified because an archive has them" if now.known else ""


def _time_left(now: RunProgress) -> str:
    if now.run.paused:
        return f"; `mernet run resume {now.run.run_id}` continues it"
    if now.seconds_left is None or not now.run.state.is_open:
        return ""
    return f", about {timedelta(seconds=round(now.seconds_left))} left"


def _product_names(entry: LeftOutCount) -> str:
    """Return all names if there are few, otherwise some of them."""
    if entry.count <= ALL_SHOWN:
        return ", ".join(entry.examples)
    return ", ".join(entry.examples[:SOME_SHOWN]) + ", ..."
