"""What `mernet worker` asks of Celery."""

import pytest
from typer.testing import CliRunner

from mernet.cli.commands import app
from mernet.cli.service.worker import arguments
from mernet.worker.app import QueueName


def consumed(queues=(), beat=True) -> set[str]:
    (option,) = (
        each for each in arguments(queues, beat, "mernet", "INFO") if each.startswith("--queues=")
    )
    return set(option.removeprefix("--queues=").split(","))


def test_a_worker_that_keeps_the_timetable_works_on_all_queues():
    assert consumed() == {"listing", "classify", "sweep"}
    assert "--beat" in arguments((), True, "mernet", "INFO")


def test_without_the_timetable_a_worker_leaves_the_sweep_to_others_unless_it_is_asked_for():
    assert consumed(beat=False) == {"listing", "classify"}
    assert consumed([QueueName.LISTING, QueueName.SWEEP], beat=False) == {"listing", "sweep"}
    assert "--beat" not in arguments((), False, "mernet", "INFO")


def test_a_worker_kept_to_one_queue_still_sweeps_when_it_keeps_the_timetable():
    assert consumed([QueueName.CLASSIFY]) == {"classify", "sweep"}


def test_a_worker_is_called_by_its_name_and_host():
    assert "--hostname=left@%h" in arguments((), True, "left", "INFO")


@pytest.mark.parametrize("command", [("worker",), ("health", "worker")])
@pytest.mark.parametrize("name", ["", "left right", "left@host", "%n"])
def test_a_name_that_a_worker_cannot_have_is_refused(command, name):
    ran = CliRunner().invoke(app, [*command, "--name", name])
    assert ran.exit_code == 2
    assert "letters, digits" in ran.output
