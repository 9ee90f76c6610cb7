"""Embedded servers that are killed in mid-run and started again at once."""

import os
import signal

import pytest
import redis

from mernet.worker.embedded import EmbeddedPostgres, EmbeddedRedis

QUICK = {"MERNET_CHUNK_SIZE": "3", "MERNET_LEASE_SECONDS": "3", "MERNET_SWEEP_SECONDS": "1"}
STATE = "SELECT state FROM run"
COUNTS = "SELECT (SELECT count(*) FROM run_product), (SELECT count(*) FROM outcome)"


def kill_postgres(folder) -> None:
    lock = EmbeddedPostgres(folder).data / "postmaster.pid"
    os.kill(int(lock.read_text().splitlines()[0]), signal.SIGKILL)


def kill_redis(folder) -> None:
    client = redis.Redis(unix_socket_path=str(EmbeddedRedis(folder).socket))
    os.kill(client.info("server")["process_id"], signal.SIGKILL)


@pytest.mark.parametrize("kill", [kill_postgres, kill_redis])
def test_a_run_goes_on_when_a_killed_server_is_started_again_at_once(
    make_service, gated_archive, kill
):
    service = make_service(**QUICK)
    service.json("run", "full", "--archive", f"{gated_archive.url}mer1po_0xxx/")
    with service.worker("--processes", "1"):
        assert gated_archive.caller_waits.wait(120), service.log()
        kill(service.folder)
        service.succeed("services", "start")
        gated_archive.is_open.set()
        service.wait_for("the end of the run", lambda: service.rows(STATE) == [("finished",)])
    ((listed, done),) = service.rows(COUNTS)
    assert listed == done > 0
