"""The arguments that `mernet worker` gives Celery."""

import pytest
from typer.testing import CliRunner

from mernet.cli.commands import app
from mernet.cli.service.worker import celery_arguments
from mernet.worker.app import QueueName


def consumed(queues=(), scheduler=True) -> set[str]:
    (option,) = (
        each
        for each in celery_arguments(queues, scheduler, "mernet", "INFO")
        if each.startswith("--queues=")
    )
    return set(option.removeprefix("--queues=").split(","))


def test_a_worker_with_a_scheduler_consumes_all_queues():
    assert consumed() == {"listing", "classify", "sweep"}
    assert "--beat" in celery_arguments((), True, "mernet", "INFO")


def test_without_a_scheduler_a_worker_consumes_the_sweep_only_if_told_to():
    assert consumed(scheduler=False) == {"listing", "classify"}
    assert consumed([QueueName.LISTING, QueueName.SWEEP], scheduler=False) == {"listing", "sweep"}
    assert "--beat" not in celery_arguments((), False, "mernet", "INFO")


def test_a_worker_of_one_queue_with_a_scheduler_also_consumes_the_sweep():
    assert consumed([QueueName.CLASSIFY]) == {"classify", "sweep"}


def test_a_worker_has_its_name_and_host():
    assert "--hostname=left@%h" in celery_arguments((), True, "left", "INFO")


@pytest.mark.parametrize("command", [("worker",), ("health", "worker")])
@pytest.mark.parametrize("name", ["", "left right", "left@host", "%n"])
def test_a_name_that_a_worker_cannot_have_is_refused(command, name):
    ran = CliRunner().invoke(app, [*command, "--name", name])
    assert ran.exit_code == 2
    assert "letters, digits" in ran.output
