"""Exit codes for scripts and cron: how a run ended."""

import typer

from mernet.db.ledger import RunProgress, RunState

NOT_COMPLETE = 1
"""An error, or a run that was cancelled, failed, or is not complete."""

PRODUCTS_FAILED = 3
"""The run is complete, but some of its products failed, in it or in an earlier run whose outcome it
kept; `mernet run retry` tries them again."""


def exit_as_run_ended(now: RunProgress) -> None:
    """Exit with the code of a run that has ended; return if it is open or all went well.

    Raises:
        typer.Exit: The run did not finish, or products failed.
    """
    if now.run.state.is_open:
        return
    if now.run.state is not RunState.FINISHED:
        raise typer.Exit(NOT_COMPLETE)
    if now.failed or now.kept_failed:
        raise typer.Exit(PRODUCTS_FAILED)
