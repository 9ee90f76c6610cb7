"""`mernet services`: what stopping says about unfinished work, and how stopped servers look."""

import json
import os
import stat

from mernet.db.engine import connect
from mernet.worker.embedded_urls import embedded_database_url


def test_stopping_names_the_open_runs_and_status_then_names_the_stopped_servers(
    make_service, archive_url
):
    service = make_service()
    run = service.json("run", "full", "--archive", f"{archive_url}mer1po_0xxx/")["run"]["run_id"]
    stopped = service.run("services", "stop")
    assert stopped.returncode == 0
    assert f"Still open: run {run} (listing)" in stopped.stderr

    asked = service.run("status")
    assert asked.returncode == 1
    assert "postgres (stopped) and redis (stopped)" in asked.stderr
    assert "`mernet services start`" in asked.stderr
    states = json.loads(service.run("services", "status", "--json").stdout)
    assert [each["state"] for each in states] == ["stopped", "stopped"]


def test_stopping_names_the_workers_that_still_run(make_service):
    service = make_service()
    with service.worker("--processes", "1", "--name", "busy"):
        service.wait_for("the worker", lambda: is_healthy(service, "busy"))
        stopped = service.run("services", "stop")
        assert "worker busy@" in stopped.stderr
        service.succeed("services", "start")


def is_healthy(service, name: str) -> bool:
    return service.run("health", "worker", "--name", name).returncode == 0


def test_stopping_what_was_never_started_says_nothing_of_work(make_service):
    service = make_service()
    service.succeed("services", "stop")
    stopped = service.run("services", "stop")
    assert "Still" not in stopped.stderr


def test_the_sockets_and_data_are_closed_to_other_users(make_service):
    service = make_service()
    service.succeed("services", "start")
    for name in ("postgres", "redis"):
        found = service.folder / name
        assert stat.S_IMODE(found.stat().st_mode) & 0o007 == 0, name
    assert os.access(service.folder, os.W_OK)


def test_a_ledger_that_cannot_be_read_does_not_keep_its_server_from_being_stopped(make_service):
    service = make_service()
    engine = connect(embedded_database_url(service.folder))
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE run RENAME state TO lost")
    engine.dispose()
    stopped = service.run("services", "stop")
    assert stopped.returncode == 0, stopped.stderr
    assert "Embedded postgres is stopped" in stopped.stderr
