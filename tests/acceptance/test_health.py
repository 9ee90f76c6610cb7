"""Health checks of real processes: a worker that answers is healthy only if it works."""

import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import redis
from celery.utils.nodenames import worker_direct

from mernet.worker.app import QUEUES, make_app
from mernet.worker.embedded_urls import embedded_broker_url
from mernet.worker.settings import Settings

NODE = f"mernet@{socket.gethostname()}"
WORKER = ("--no-scheduler", "--processes", "1", *(f"--queue={queue}" for queue in QUEUES))


@contextmanager
def scheduler(service) -> Iterator[None]:
    (service.folder / "logs").mkdir(exist_ok=True)
    with (service.folder / "logs" / "scheduler.log").open("a") as log:
        process = service.start("scheduler", stdout=log, stderr=log)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def check(service, *words: str) -> tuple[int, str]:
    ran = service.run("health", *words)
    return ran.returncode, " ".join(ran.stderr.split())


def test_health_checks_of_a_scheduler_and_a_worker_from_start_to_end(make_service, gated_archive):
    service = make_service(MERNET_SWEEP_SECONDS="1", MERNET_LEASE_SECONDS="3")
    control = make_app(Settings(broker_url=embedded_broker_url(service.folder))).control
    service.succeed("run", "full", "--archive", f"{gated_archive.url}mer1po_0xxx/")
    redis.Redis(unix_socket_path=str(service.folder / "redis" / "redis.sock")).flushall()
    assert check(service, "scheduler")[0] == 1
    code, why = check(service, "worker")
    assert (code, "No worker" in why) == (1, True)

    with service.worker(*WORKER):
        with scheduler(service):
            assert gated_archive.caller_waits.wait(120), service.log()  # the message came again
            assert check(service, "worker") == (0, ""), "all its processes are busy"
            assert check(service, "scheduler") == (0, "")
            gated_archive.is_open.set()
            service.wait_for(
                "the end", lambda: service.rows("SELECT state FROM run") == [("finished",)]
            )
            assert check(service, "worker", "--name", "mernet") == (0, "")

        control.cancel_consumer(worker_direct(NODE).name, destination=[NODE], reply=True)
        # For a second, Redis may still answer the worker's last request for a message.
        service.wait_for(
            "the finding that it takes no message",
            lambda: "received no message" in check(service, "worker", "--name", "mernet")[1],
        )
        for queue in QUEUES:
            control.cancel_consumer(queue, destination=[NODE], reply=True)
        code, why = check(service, "worker", "--name", "mernet")
        assert (code, "consumes none of" in why) == (1, True)
        broker = service.json("status")["broker"]
        assert broker["workers"] == [NODE], "and yet it answers"
        assert broker["consumers"] == dict.fromkeys(QUEUES, 0)

    assert "sent that were missing" in (service.folder / "logs" / "scheduler.log").read_text()
    tasks = set(re.findall(r"Task (\S+)\[", service.log()))
    assert tasks == {"mernet.list_run", "mernet.classify_chunk"}, "probes and sweeps say nothing"
