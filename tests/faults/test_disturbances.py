"""Whatever is disturbed, a run ends with the results of an undisturbed one.

The kinds are inflicted in turn, each as short as it can be. `make soak` inflicts all of them, at
other times and for longer.
"""

import pytest

from faults.disturbances import ALL
from faults.judgement import inflict_in_turn

GROUPS = {
    "processes": (
        "SIGKILL to a child process",
        "SIGKILL to a worker",
        "children stopped beyond their lease (SIGSTOP)",
        "SIGKILL to the scheduler, messages lost",
        "SIGTERM to the scheduler, messages lost",
    ),
    "messages": (
        "messages doubled",
        "messages reordered",
        "messages malformed",
        "messages with strange tasks and numbers",
        "messages dropped",
    ),
    "Redis": (
        "Redis flushed",
        "Redis killed, its data lost",
        "Redis full (maxmemory), later raised",
    ),
    "Postgres": (
        "Postgres connections terminated",
        "Postgres backend killed (SIGKILL)",
        "postmaster killed, started again at once",
        "deadlock and serialization errors",
    ),
    "disk": ("disk full",),
    "network": ("connections of a host cut", "clock of a host ahead or behind"),
    "archive": (
        "archive answers 503",
        "archive redirects elsewhere",
        "archive refuses connections",
        "all images answer 503, the index does not",
    ),
    "listing": (
        "listing: SIGKILL to the lister",
        "listing: lister stopped beyond its lease",
        "listing: message four times",
        "listing: Redis killed, its data lost",
        "listing: one label: answers 503",
        "listing: index half as long",
    ),
    "ingest": ("ingest: postmaster killed, started again at once", "ingest: archive answers 503"),
    "checkpoint": ("checkpoint file missing for a moment",),
    "device": ("GPU fails",),
    "runs": (
        "overlapping runs",
        "promotion in mid-run",
        "thresholds changed in mid-run",
        "run paused and resumed",
    ),
}


@pytest.mark.parametrize("group", list(GROUPS))
def test_the_run_ends_with_the_results_of_an_undisturbed_one(group, disturbed):
    scene, expected = disturbed
    kinds = [ALL[name] for name in GROUPS[group]]
    for kind in kinds:
        if why_not := kind.why_not(scene):
            pytest.skip(why_not)
    record = inflict_in_turn(scene, kinds, seed=1, expected=expected)
    assert not record.complaints, "\n".join((*record.complaints, scene.log()[-4000:]))
