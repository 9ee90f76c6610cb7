"""Archives and products that fail, and changes in mid-run, change no right result."""

import pytest

from faults.disturbances import ALL
from faults.judgement import inflict_in_turn

GROUPS = {
    "archive": (
        "archive answers 503",
        "archive answers 429 with Retry-After",
        "archive answers 500",
        "archive cuts bodies",
        "archive drips",
        "archive hangs up",
        "archive refuses connections",
    ),
    "strange answers": (
        "archive states too short lengths",
        "archive answers with a page of HTML",
        "archive redirects in a circle",
        "archive redirects elsewhere",
    ),
    "index": (
        "index half as long while it is listed",
        "index answered with HTML while it is listed",
    ),
    "products": (
        "product that kills its process",
        "product that eats memory",
    ),
    "checkpoint": ("checkpoint file away for a moment",),
    "runs": (
        "overlapping runs",
        "promotion in mid-run",
        "thresholds changed in mid-run",
        "run paused and resumed",
    ),
}


@pytest.mark.parametrize("group", GROUPS)
def test_right_results_stay_right(group, disturbed):
    scene, expected = disturbed
    possible = [ALL[name] for name in GROUPS[group] if not ALL[name].why_not(scene)]
    if not possible:
        pytest.skip(ALL[GROUPS[group][0]].why_not(scene))
    record = inflict_in_turn(scene, possible, seed=1, expected=expected)
    assert not record.complaints, "\n".join((*record.complaints, scene.log()[-4000:]))
