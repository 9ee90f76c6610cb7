"""Exit codes: how scripts learn how a run ended."""

from types import SimpleNamespace

import pytest
import typer

from mernet.cli.service.exit_codes import exit_as_run_ended
from mernet.db.ledger import RunState


def code(state: RunState, failed: int, kept_failed: int = 0) -> int:
    counts = {"failed": failed, "kept_failed": kept_failed}
    try:
        exit_as_run_ended(SimpleNamespace(run=SimpleNamespace(state=state), **counts))
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


def test_an_earlier_failure_that_a_run_kept_is_no_success() -> None:
    assert code(RunState.FINISHED, failed=0, kept_failed=1) == 3
