"""Processes and messages that are lost, stopped or malformed change nothing of a run."""

import pytest

from faults.disturbances import ALL
from faults.judgement import inflict_in_turn

GROUPS = {
    "children": (
        "SIGKILL to a child process",
        "SIGTERM to a child process",
        "SIGQUIT to a child process",
    ),
    "workers": (
        "SIGTERM to a worker",
        "SIGINT twice to a worker",
        "SIGQUIT to a worker",
        "SIGKILL to a worker",
    ),
    "stopped": (
        "children stopped beyond their lease (SIGSTOP)",
        "worker and children stopped (SIGSTOP)",
        "worker stopped, its children run on (SIGSTOP)",
    ),
    "lister": ("lister stopped beyond its lease",),
    "scheduler": (
        "scheduler killed, messages lost",
        "scheduler stopped, messages lost",
    ),
    "messages": (
        "listing message four times",
        "messages doubled",
        "messages reordered",
        "messages malformed",
        "messages with strange tasks and numbers",
        "messages dropped",
    ),
}


@pytest.mark.parametrize("group", GROUPS)
def test_the_run_ends_with_the_results_of_an_undisturbed_one(group, disturbed):
    scene, expected = disturbed
    possible = [ALL[name] for name in GROUPS[group] if not ALL[name].why_not(scene)]
    if not possible:
        pytest.skip(ALL[GROUPS[group][0]].why_not(scene))
    record = inflict_in_turn(scene, possible, seed=1, expected=expected)
    assert not record.complaints, "\n".join((*record.complaints, scene.log()[-4000:]))
