"""Exit codes: what cron learns from a run's end."""

from types import SimpleNamespace

import pytest
import typer

from mernet.cli.service.exit_codes import end_as
from mernet.db.ledger import RunState


def code(state: RunState, failed: int) -> int:
    try:
        end_as(SimpleNamespace(run=SimpleNamespace(state=state), failed=failed))
    except typer.Exit as end:
        return end.exit_code
    return 0


@pytest.mark.parametrize(
    ("state", "failed", "expected"),
    [
        (RunState.FINISHED, 0, 0),
        (RunState.FINISHED, 1, 3),
        (RunState.CANCELLED, 0, 1),
        (RunState.FAILED, 1, 1),
        (RunState.RUNNING, 1, 0),
        (RunState.LISTING, 0, 0),
    ],
)
def test_the_end_of_a_run_has_its_exit_code(state, failed, expected) -> None:
    assert code(state, failed) == expected
