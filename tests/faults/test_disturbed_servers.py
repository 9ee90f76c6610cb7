"""Servers and networks that fail change nothing of a run."""

import pytest

from faults.disturbances import ALL
from faults.judgement import inflict_in_turn

GROUPS = {
    "Redis": (
        "Redis flushed",
        "Redis killed, its data kept",
        "Redis killed, its data lost",
        "Redis paused (SIGSTOP)",
        "Redis full (maxmemory), later raised",
    ),
    "connections": (
        "Postgres connections terminated",
        "deadlock and serialization errors",
        "rows locked by another program",
        "connections of a host cut",
    ),
    "Postgres": (
        "Postgres backend killed (SIGKILL)",
        "postmaster killed, started again at once",
        "Postgres stands still (SIGSTOP)",
    ),
    "stopped": (
        "servers stopped and started",
        "postmaster killed, started again later",
    ),
    "disk": ("disk full",),
    "network": ("host without network, reconnected",),
    "clock": ("clock of a host ahead or behind",),
}


@pytest.mark.parametrize("group", GROUPS)
def test_the_run_ends_with_the_results_of_an_undisturbed_one(group, disturbed):
    scene, expected = disturbed
    possible = [ALL[name] for name in GROUPS[group] if not ALL[name].why_not(scene)]
    if not possible:
        pytest.skip(ALL[GROUPS[group][0]].why_not(scene))
    record = inflict_in_turn(scene, possible, seed=1, expected=expected)
    assert not record.complaints, "\n".join((*record.complaints, scene.log()[-4000:]))
