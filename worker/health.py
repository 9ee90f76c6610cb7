"""Checks that the workers of a host do their work: a worker that answers may still do none."""

import math
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self
from uuid import uuid4

from celery.utils.nodenames import worker_direct
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from mernet.worker.app import QUEUES, app
from mernet.worker.broker import broker_unreachable, check_broker

ANSWER_SECONDS = 3.0
RECEIVE_SECONDS = 5.0
"""How long an idle worker may take to receive a message."""

PROBE_EXPIRY_SECONDS = 60
"""After this time Redis deletes a probe that no worker received, in case the check was killed."""

OVERDUE_SECONDS = 60.0
"""How far past its time limit a task may appear to be before its worker counts as hanging."""


def why_workers_are_unhealthy(host: str, name: str | None = None) -> str | None:
    """Return what is wrong with the first unhealthy worker of `host`, or None if all are healthy.

    A worker is healthy if it consumes one of our queues and receives a message sent to it alone, or
    if all its processes are busy with tasks within their time limits. A host without any worker is
    unhealthy too.

    Args:
        host: The host's name, the part of a worker's name after the @.
        name: The part of a worker's name before the @, to check this worker only.

    Raises:
        BrokerError: If the broker does not answer.
    """
    check_broker()
    try:
        consumed = _consumed_queues(host, name)
        if not consumed:
            whose = f"on {host}" if name is None else f"{name}@{host}"
            return f"No worker {whose} answers; start it."
        for node, queues in consumed.items():
            if queues.isdisjoint(QUEUES):
                return f"{node} answers but consumes none of the service's queues; restart it."
        return _why_probes_are_not_received(list(consumed))
    except (OperationalError, RedisError) as error:
        raise broker_unreachable(error) from error


def _consumed_queues(host: str, name: str | None) -> Mapping[str, set[str]]:
    """Return the queues that each worker says it consumes, by the worker's name."""
    if name is None:
        asked = app.control.inspect(pattern=f"*@{host}", matcher="glob", timeout=ANSWER_SECONDS)
    else:
        asked = app.control.inspect([f"{name}@{host}"], timeout=ANSWER_SECONDS)
    answers = asked.active_queues() or {}
    return {node: {queue["name"] for queue in queues} for node, queues in answers.items()}


@dataclass(frozen=True, slots=True)
class Probe:
    """A message in the queue of a single worker; Redis stores a queue as a list."""

    redis: Any
    queue: str
    task_id: str

    @classmethod
    def send(cls, redis: Any, node: str) -> Self:
        """Send a probe to the worker named `node`."""
        queue = worker_direct(node)
        probe = cls(redis, queue.name, f"probe-{uuid4()}")
        app.send_task("mernet.probe", task_id=probe.task_id, queue=queue)
        redis.expire(queue.name, PROBE_EXPIRY_SECONDS)
        return probe

    def is_waiting(self) -> bool:
        """Return whether the worker has not received the probe yet."""
        return bool(self._waiting_messages())

    def withdraw(self) -> bool:
        """Remove the probe from its queue; return whether it was still there."""
        return any(self.redis.lrem(self.queue, 0, each) for each in self._waiting_messages())

    def _waiting_messages(self) -> list[bytes]:
        task_id = self.task_id.encode()
        return [each for each in self.redis.lrange(self.queue, 0, -1) if task_id in each]


def _why_probes_are_not_received(nodes: Collection[str]) -> str | None:
    """Send a probe to each worker; return what is wrong with the first that should receive it.

    A worker counts as healthy if it receives its probe while the others are being asked.
    """
    with app.connection_for_write() as connection, connection.channel() as channel:
        probes = {node: Probe.send(channel.client, node) for node in nodes}
        try:
            _wait_until_received(probes.values())
            waiting = [node for node, probe in probes.items() if probe.is_waiting()]
            faults = _faults_unless_busy(waiting) if waiting else {}
        finally:
            not_received = {node for node, probe in probes.items() if probe.withdraw()}
    return next((fault for node, fault in faults.items() if node in not_received), None)


def _wait_until_received(probes: Collection[Probe]) -> None:
    deadline = time.monotonic() + RECEIVE_SECONDS
    while time.monotonic() < deadline and any(probe.is_waiting() for probe in probes):
        time.sleep(0.1)


def _faults_unless_busy(nodes: list[str]) -> dict[str, str]:
    """Return what is wrong with those of the workers that are not simply busy."""
    asked = app.control.inspect(nodes, timeout=ANSWER_SECONDS)
    stats, active = asked.stats() or {}, asked.active() or {}
    faults = {node: _fault_unless_busy(stats.get(node), active.get(node)) for node in nodes}
    return {node: f"{node} {fault}; restart it." for node, fault in faults.items() if fault}


def _fault_unless_busy(
    stats: Mapping[str, Any] | None, tasks: list[Mapping[str, Any]] | None
) -> str | None:
    if stats is None or tasks is None:
        return "no longer answers"
    if len(tasks) < stats["pool"]["max-concurrency"]:
        return f"answers but received no message for {RECEIVE_SECONDS:.0f} seconds"
    return next((f"hangs in {task['id']}" for task in tasks if _is_overdue(task)), None)


def _is_overdue(task: Mapping[str, Any]) -> bool:
    limit = app.conf.task_annotations.get(task["name"], {}).get("time_limit", math.inf)
    return bool(time.time() - task["time_start"] > limit + OVERDUE_SECONDS)
