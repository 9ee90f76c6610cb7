"""The arguments that `mernet worker` gives Celery."""

import pytest
from typer.testing import CliRunner

from mernet.cli.commands import app
from mernet.cli.service.worker import celery_arguments
from mernet.worker.app import QueueName


def consumed(queues=()) -> set[str]:
    (option,) = (
        each for each in celery_arguments(queues, "mernet", "INFO") if each.startswith("--queues=")
    )
    return set(option.removeprefix("--queues=").split(","))


def test_a_worker_consumes_all_queues_or_those_it_is_told_to():
    assert consumed() == {"listing", "classify"}
    assert consumed([QueueName.LISTING]) == {"listing"}


def test_celery_schedules_nothing_since_its_messages_depend_on_the_clocks_of_hosts():
    assert not any(each.startswith("--beat") for each in celery_arguments((), "mernet", "INFO"))


def test_a_worker_has_its_name_and_host():
    assert "--hostname=left@%h" in celery_arguments((), "left", "INFO")


@pytest.mark.parametrize("command", [("worker",), ("health", "worker")])
@pytest.mark.parametrize("name", ["", "left right", "left@host", "%n"])
def test_a_name_that_a_worker_cannot_have_is_refused(command, name):
    ran = CliRunner().invoke(app, [*command, "--name", name])
    assert ran.exit_code == 2
    assert "letters, digits" in ran.output
