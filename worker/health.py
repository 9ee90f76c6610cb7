"""Whether the workers of a host do their work: a worker that answers need not be one that works."""

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
TAKE_SECONDS = 5.0
"""How long an idle worker may leave a message lying."""

FORGET_SECONDS = 60
"""When Redis drops a probe that nobody took, where the check itself was killed."""

OVERDUE_SECONDS = 60.0
"""How much longer than its time limit a task may seem to run; then nobody ends it any more."""


def why_workers_are_unhealthy(host: str, name: str | None = None) -> str | None:
    """A sentence about the first worker of `host` that does not work, None where all do.

    A worker works when it consumes one of our queues and takes a message meant for it alone off the
    broker, or when all its processes are busy with tasks within their time limits. With a `name`
    only the worker `name`@`host` is looked at. That there is none is unhealthy too.

    Raises `BrokerError` when the broker does not answer.
    """
    check_broker()
    try:
        consumed = _consumed_queues(host, name)
        if not consumed:
            whose = f"on {host}" if name is None else f"{name}@{host}"
            return f"No worker {whose} answers; start it with `mernet worker`."
        for node, queues in consumed.items():
            if queues.isdisjoint(QUEUES):
                return f"{node} answers but consumes no queue of ours; start it again."
        return _why_probes_lie(list(consumed))
    except (OperationalError, RedisError) as error:
        raise broker_unreachable(error) from error


def _consumed_queues(host: str, name: str | None) -> Mapping[str, set[str]]:
    """By the name of each worker that answers: what it says that it consumes."""
    if name is None:
        asked = app.control.inspect(pattern=f"*@{host}", matcher="glob", timeout=ANSWER_SECONDS)
    else:
        asked = app.control.inspect([f"{name}@{host}"], timeout=ANSWER_SECONDS)
    answers = asked.active_queues() or {}
    return {node: {queue["name"] for queue in queues} for node, queues in answers.items()}


@dataclass(frozen=True, slots=True)
class Probe:
    """A message in the queue of one worker alone, which Redis keeps as a list."""

    redis: Any
    queue: str
    task_id: str

    @classmethod
    def send(cls, redis: Any, node: str) -> Self:
        """Send a probe to the worker of this name."""
        queue = worker_direct(node)
        probe = cls(redis, queue.name, f"probe-{uuid4()}")
        app.send_task("mernet.probe", task_id=probe.task_id, queue=queue)
        redis.expire(queue.name, FORGET_SECONDS)
        return probe

    def lies(self) -> bool:
        """Whether nobody has taken it yet."""
        return bool(self._messages())

    def withdraw(self) -> bool:
        """Take it back; whether it still lay there."""
        return any(self.redis.lrem(self.queue, 0, message) for message in self._messages())

    def _messages(self) -> list[bytes]:
        sought = self.task_id.encode()
        return [each for each in self.redis.lrange(self.queue, 0, -1) if sought in each]


def _why_probes_lie(nodes: Collection[str]) -> str | None:
    with app.connection_for_write() as connection, connection.channel() as channel:
        probes = {node: Probe.send(channel.client, node) for node in nodes}
        try:
            _wait_until_taken(probes.values())
            lying = [node for node, probe in probes.items() if probe.lies()]
            faults = _faults_unless_busy(lying) if lying else {}
        finally:
            untaken = {node for node, probe in probes.items() if probe.withdraw()}
    return next((fault for node, fault in faults.items() if node in untaken), None)


def _wait_until_taken(probes: Collection[Probe]) -> None:
    deadline = time.monotonic() + TAKE_SECONDS
    while time.monotonic() < deadline and any(probe.lies() for probe in probes):
        time.sleep(0.1)


def _faults_unless_busy(nodes: list[str]) -> dict[str, str]:
    """What is wrong with those of the workers that take nothing, although they could."""
    asked = app.control.inspect(nodes, timeout=ANSWER_SECONDS)
    stats, active = asked.stats() or {}, asked.active() or {}
    faults = {node: _fault(stats.get(node), active.get(node)) for node in nodes}
    return {node: f"{node} {fault}; start it again." for node, fault in faults.items() if fault}


def _fault(stats: Mapping[str, Any] | None, tasks: list[Mapping[str, Any]] | None) -> str | None:
    if stats is None or tasks is None:
        return "answers no more"
    if len(tasks) < stats["pool"]["max-concurrency"]:
        return f"answers but took no message for {TAKE_SECONDS:.0f} seconds"
    return next((f"hangs in {task['id']}" for task in tasks if _is_overdue(task)), None)


def _is_overdue(task: Mapping[str, Any]) -> bool:
    limit = app.conf.task_annotations.get(task["name"], {}).get("time_limit", math.inf)
    return bool(time.time() - task["time_start"] > limit + OVERDUE_SECONDS)
