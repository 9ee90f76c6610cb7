"""Two worker hosts share a ledger and a broker: one without network, checkpoint or right time."""

import redis

from faults.scene import IN_WORKERS

OUTCOMES = "SELECT product_id, state, reason, scores FROM outcome WHERE run_id = {} ORDER BY 1"
ROWS = """
SELECT product_id, class, probability
FROM classification JOIN outcome USING (product_id, classifier) WHERE run_id = {} ORDER BY 1, 2
"""
PUBLISHED_AT = "SELECT product_id, finished_at FROM outcome WHERE run_id = {} ORDER BY 1"
LISTED, CLASSIFIED = "products listed", " classified"
SENT_AGAIN = "messages sent that were missing"
QUICK = {
    "MERNET_CHUNK_SIZE": "2",
    "MERNET_LEASE_SECONDS": "3",
    "MERNET_SWEEP_SECONDS": "1",
}


def queue_run(service, volume: str, *options: str) -> int:
    return service.json("run", "full", "--archive", volume, *options)["run"]["run_id"]


def results(service, run_id: int):
    return service.rows(OUTCOMES.format(run_id)), service.rows(ROWS.format(run_id))


def wait_for_the_end(service, run_id: int) -> None:
    state = f"SELECT state FROM run WHERE run_id = {run_id}"
    service.wait_for("the end of the run", lambda: service.rows(state) == [("finished",)])


def wait_until_each_host_holds_a_chunk(service) -> None:
    claimed = "SELECT count(*) FROM chunk WHERE state = 'claimed'"
    service.wait_for("a chunk for each host", lambda: service.rows(claimed) == [(2,)])


def wait_until_both_ends_have_given_up(service, host) -> None:
    """The server's end too, since its sessions may hold locks."""
    sessions = f"SELECT count(*) FROM pg_stat_activity WHERE client_addr = '{host.address}'"
    service.wait_for("the end of the sessions", lambda: service.rows(sessions) == [(0,)])
    service.wait_for("the end of the connections", lambda: not host.connections_to(5432))


def test_a_host_without_network_loses_nothing_and_continues_when_it_is_reconnected(
    make_network_service, make_host, gated_network_archive
):
    opportunity = f"{gated_network_archive.url}mer1po_0xxx/"
    spirit = f"{gated_network_archive.url}mer2po_0xxx/"
    service = make_network_service(**QUICK)
    host, other = make_host(service), make_host(service)
    disturbed = queue_run(service, opportunity)

    with host.worker("--processes", "1"):
        with other.worker("--processes", "1"):
            wait_until_each_host_holds_a_chunk(service)
            host.disconnect()
            gated_network_archive.is_open.set()
            wait_for_the_end(service, disturbed)
        assert service.rows("SELECT count(*) FROM chunk WHERE attempts = 2") == [(1,)]
        assert service.json("reconcile", str(disturbed))["ok"]
        found = results(service, disturbed)
        published_at = service.rows(PUBLISHED_AT.format(disturbed))

        wait_until_both_ends_have_given_up(service, host)
        host.reconnect()
        wait_for_the_end(service, queue_run(service, spirit))
        assert service.rows(PUBLISHED_AT.format(disturbed)) == published_at

        undisturbed = queue_run(service, opportunity, "--reclassify")
        wait_for_the_end(service, undisturbed)
    assert results(service, undisturbed) == found


def test_one_host_without_the_checkpoint_and_one_a_minute_ahead_do_a_run_together(
    make_network_service, make_host, gated_network_archive
):
    """All messages are lost; only the host that lives in the future can send them again."""
    service = make_network_service(**QUICK)
    clocks = service.folder / "clocks"
    ahead = {
        "FAULTS_CLOCK_SHIFT": "60",
        "FAULTS_CLOCKS": str(clocks),
        "PYTHONPATH": str(IN_WORKERS),
    }
    host = make_host(service, has_checkpoints=False)
    other = make_host(service, **ahead)
    gated_network_archive.is_open.set()
    volume = f"{gated_network_archive.url}mer1po_0xxx/"

    with host.worker("--processes", "1", "--no-scheduler"):
        disturbed = queue_run(service, volume)
        service.wait_for("what the host lacks", lambda: "checkpoint" in host.log())
        assert service.rows("SELECT state FROM run") == [("running",)]
        redis.Redis.from_url(service.settings["MERNET_BROKER_URL"]).flushall()
        with other.worker("--processes", "1"):
            wait_for_the_end(service, disturbed)
            wrong, right = map(float, (other.folder / clocks.name).read_text().split())
    assert round(wrong - right) == 60
    assert [text in host.log() for text in (LISTED, CLASSIFIED, SENT_AGAIN)] == [True, False, False]
    assert [text in other.log() for text in (LISTED, CLASSIFIED, SENT_AGAIN)] == [False, True, True]
    assert service.json("reconcile", str(disturbed))["ok"]
    assert service.rows("SELECT DISTINCT attempts FROM chunk") == [(1,)]
    found = results(service, disturbed)

    with make_host(service).worker("--processes", "1"):
        undisturbed = queue_run(service, volume, "--reclassify")
        wait_for_the_end(service, undisturbed)
    assert results(service, undisturbed) == found
