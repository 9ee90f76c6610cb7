"""Interruptions of a run: what was done stays, what was not is done later, once."""

import shutil
import signal
import subprocess

import psutil
import redis

from fixtures.service import DONE

ROWS = "SELECT product_id, class, probability FROM classification ORDER BY product_id, class"
SCORES = "SELECT product_id, state, reason, scores FROM outcome ORDER BY product_id"
QUICK = {
    "MERNET_CHUNK_SIZE": "3",
    "MERNET_LEASE_SECONDS": "3",
    "MERNET_SWEEP_SECONDS": "1",
}


def volumes(url: str) -> tuple[str, ...]:
    return ("--archive", f"{url}mer1po_0xxx/", "--archive", f"{url}mer2po_0xxx/")


def queue_run(service, url: str) -> int:
    return service.json("run", "full", *volumes(url))["run"]["run_id"]


def undisturbed(service, archive_url: str):
    queue_run(service, archive_url)
    with service.worker():
        service.wait_for("the end of the run", lambda: finished(service))
    return service.rows(ROWS), service.rows(SCORES)


def finished(service) -> bool:
    return service.rows("SELECT state FROM run ORDER BY run_id DESC LIMIT 1") == [("finished",)]


def test_after_a_worker_is_killed_in_mid_run_the_rows_are_those_of_an_undisturbed_run(
    make_service, archive_url, gated_archive
):
    expected = undisturbed(make_service(**QUICK), archive_url)
    service = make_service(**QUICK)
    queue_run(service, gated_archive.url)

    with service.worker("--processes", "1") as killed:
        assert gated_archive.caller_waits.wait(120), service.log()
        done_before = service.rows("SELECT count(*) FROM outcome")
        family = psutil.Process(killed.pid).children(recursive=True)
        assert len(family) == 2, "one process that classifies, one scheduler"
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    _, left_over = psutil.wait_procs(family, timeout=30)
    assert left_over == []
    assert not finished(service)
    assert service.rows("SELECT count(*) FROM chunk WHERE state = 'claimed'") == [(1,)]

    gated_archive.is_open.set()
    with service.worker("--processes", "1"):
        service.wait_for("the end of the run", lambda: finished(service))
    assert done_before < service.rows("SELECT count(*) FROM outcome")
    assert (service.rows(ROWS), service.rows(SCORES)) == expected
    assert service.json("reconcile")["ok"]


def test_after_a_child_process_is_killed_its_chunk_is_done_by_another(make_service, gated_archive):
    service = make_service(**QUICK)
    queue_run(service, gated_archive.url)
    with service.worker("--processes", "1") as worker:
        assert gated_archive.caller_waits.wait(120), service.log()
        child, scheduler = psutil.Process(worker.pid).children()
        if "scheduler" in child.cmdline():
            child, scheduler = scheduler, child
        child.kill()
        gated_archive.is_open.set()
        service.wait_for("the end of the run", lambda: finished(service))
    assert service.json("reconcile")["ok"]


def test_if_the_temporary_worker_dies_following_ends_with_an_error(make_service, gated_archive):
    service = make_service(**QUICK)
    words = ("run", "full", *volumes(gated_archive.url), "--follow")
    follower = service.start(*words, stderr=subprocess.PIPE)
    assert gated_archive.caller_waits.wait(120), service.log()
    (worker,) = psutil.Process(follower.pid).children()
    worker.kill()
    _, said = follower.communicate(timeout=60)
    assert follower.returncode == 1
    assert "The worker exited with code -9" in " ".join(said.split())


def test_of_two_followed_runs_the_second_continues_when_the_first_stops_its_worker(
    make_service, gated_archive
):
    service = make_service(**QUICK)
    first, second = volumes(gated_archive.url)[:2], volumes(gated_archive.url)[2:]
    one = service.start("run", "full", *first, "--follow", stderr=subprocess.PIPE)
    assert gated_archive.caller_waits.wait(120), service.log()
    other = service.start("run", "full", *second, "--follow", stderr=subprocess.PIPE)
    service.wait_for("the second run", lambda: service.rows("SELECT count(*) FROM run") == [(2,)])
    gated_archive.is_open.set()
    for follower in (one, other):
        follower.communicate(timeout=120)
        assert follower.returncode in DONE
    assert service.rows("SELECT DISTINCT state FROM run") == [("finished",)]


def test_servers_that_restart_during_a_run_lose_nothing(make_service, gated_archive):
    service = make_service(**QUICK)
    queue_run(service, gated_archive.url)
    with service.worker("--processes", "1") as worker:
        assert gated_archive.caller_waits.wait(120), service.log()
        service.succeed("services", "stop")
        shutil.rmtree(service.folder / "redis")
        service.wait_for("a try to reconnect", lambda: "Cannot connect to redis" in service.log())
        assert worker.poll() is None
        service.succeed("services", "start")
        gated_archive.is_open.set()
        service.wait_for("the end of the run", lambda: finished(service))
    assert service.json("reconcile")["ok"]


def test_messages_lost_in_redis_are_sent_again_by_the_sweep(make_service, archive_url):
    service = make_service(**QUICK)
    queue_run(service, archive_url)
    redis.Redis(unix_socket_path=str(service.folder / "redis" / "redis.sock")).flushall()
    with service.worker("--processes", "1"):
        service.wait_for("the end of the run", lambda: finished(service))
    assert service.json("reconcile")["ok"]


def test_ctrl_c_ends_following_and_its_worker_but_loses_nothing_of_the_run(
    make_service, gated_archive
):
    service = make_service(**QUICK)
    follow = ("run", "full", *volumes(gated_archive.url), "--follow")
    follower = service.start(*follow, stderr=subprocess.PIPE)
    assert gated_archive.caller_waits.wait(120), service.log()
    follower.send_signal(signal.SIGINT)
    gated_archive.is_open.set()
    _, said = follower.communicate(timeout=120)
    assert follower.returncode == 130
    assert "mernet status 1 --follow" in " ".join(said.split())
    assert not finished(service)

    with service.worker():
        assert service.json("status", "--follow")["run"]["state"] == "finished"
    assert service.json("reconcile")["ok"]


def test_a_cancelled_run_publishes_nothing_more(make_service, gated_archive):
    service = make_service(**QUICK)
    run_id = queue_run(service, gated_archive.url)
    with service.worker("--processes", "1"):
        assert gated_archive.caller_waits.wait(120), service.log()
        before = service.rows(SCORES)
        service.succeed("run", "cancel", str(run_id))
        gated_archive.is_open.set()
    assert service.rows(SCORES) == before
    assert service.rows("SELECT state FROM run") == [("cancelled",)]
    assert service.run("reconcile").returncode == 1


def test_ctrl_c_ends_a_worker_and_a_second_of_its_name_is_refused(make_service):
    service = make_service()
    with service.worker("--processes", "1") as worker:
        service.wait_for("a worker", lambda: " ready." in service.log())
        namesake = service.run("worker")
        assert (namesake.returncode, "another --name" in namesake.stderr) == (1, True)
        worker.send_signal(signal.SIGINT)
        assert worker.wait(60) == 0
