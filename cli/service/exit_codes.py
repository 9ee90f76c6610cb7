"""Exit codes fit for cron: what the end of a run means to a script."""

import typer

from mernet.db.ledger import RunProgress, RunState

NOT_AS_ASKED = 1
"""An error, or a run that was cancelled, failed, or is not complete."""

PRODUCTS_FAILED = 3
"""All is done, but some products failed; `mernet run retry` tries those again."""


def end_as(now: RunProgress) -> None:
    """End the command with the code of a run: 0 also while it is open. Raises `typer.Exit`."""
    if now.run.state.is_open:
        return
    if now.run.state is not RunState.FINISHED:
        raise typer.Exit(NOT_AS_ASKED)
    if now.failed:
        raise typer.Exit(PRODUCTS_FAILED)
