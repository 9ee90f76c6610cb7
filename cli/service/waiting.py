"""What work waits for, in sentences: what, since when, why, the next try, and what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import sqlalchemy as sa

from mernet.cli.shared.output import in_words, moment, say
from mernet.db import obstacles
from mernet.db.ledger import RunProgress
from mernet.db.obstacles import Obstacle, ObstacleKind

ADVICE: Mapping[str, str] = {
    ObstacleKind.ARCHIVE_HOST: "Nothing needs to be done if the archive comes back. If it has "
    "moved, `mernet archive moved OLD NEW` says so; otherwise `mernet run cancel {run}` ends the "
    "run, and `--mirror URL` of a new run reads a mirror.",
    ObstacleKind.CONNECTIONS: "Nothing needs to be done: they are granted in the order of asking. "
    "`MERNET_CONNECTIONS_PER_HOST` allows more, if the archive agrees.",
    ObstacleKind.CHECKPOINT: "Copy the checkpoint to that host, at the same path; other workers "
    "that have it continue meanwhile.",
    ObstacleKind.DATABASE: "Remove the cause that the reason names; work then continues without "
    "your help.",
    ObstacleKind.DEVICE: "Repair the device of that host, see nvidia-smi there, or set "
    "MERNET_DEVICE=cpu and start its worker again; workers on other hosts continue meanwhile.",
    ObstacleKind.MACHINE: "Free what that machine lacks; its worker then continues without your "
    "help, and those on other machines continue meanwhile.",
}
"""What to do about a kind of obstacle."""


def all_obstacles(engine: sa.Engine) -> list[Obstacle]:
    """Return what work waits for: what workers have noted, and a database that is not writable.

    Workers cannot note that; this process finds it out by trying.
    """
    noted = obstacles.current(engine)
    found = obstacles.unwritable_database(engine)
    if found is None:
        return noted
    return [found, *(each for each in noted if each.kind != ObstacleKind.DATABASE)]


def marked_as_waiting(now: RunProgress, found: Sequence[Obstacle]) -> RunProgress:
    """Return the progress of a run, which waits if the database cannot be written."""
    waits = any(
        each.kind == ObstacleKind.DATABASE and now.run.run_id in each.run_ids for each in found
    )
    return replace(now, run=replace(now.run, waits=now.run.waits or waits))


def print_obstacles(found: Sequence[Obstacle]) -> None:
    """Print a paragraph for each obstacle, nothing without any."""
    for each in found:
        say()
        say(_describe(each), "yellow")
        say(f"  Reason: {each.reason}")
        if each.kind in ADVICE:
            run = each.run_ids[0] if each.run_ids else "N"
            say(f"  {ADVICE[each.kind].format(run=run)}")


def _describe(obstacle: Obstacle) -> str:
    """Return what waits, since when, and when it is tried next."""
    runs = ", ".join(f"run {run_id}" for run_id in obstacle.run_ids)
    next_try = (
        f"next try at {moment(obstacle.next_try_at)} UTC, in {in_words(obstacle.seconds_left)}"
        if obstacle.seconds_left
        else "the next try is due"
    )
    return (
        f"{runs or 'the check for new products'} ".capitalize()
        + f"{'wait' if len(obstacle.run_ids) > 1 else 'waits'} for the {obstacle.kind} "
        + f"{obstacle.subject} since {moment(obstacle.since)} UTC; {next_try}."
    )
