"""What an operator has: exit codes, a log for programs, metrics, tasks that say what they do."""

import json
import socket
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

PRODUCTS_FAILED, NOTHING_LEFT, NO_SUCH_REASON = 3, 0, 2


def volumes(url: str) -> list[str]:
    return ["--archive", f"{url}mer1po_0xxx/", "--archive", f"{url}mer2po_0xxx/"]


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def metric(port: int, name: str) -> dict[tuple[str, ...], float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        families = text_string_to_metric_families(answer.read().decode())
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return {tuple(each.labels.values()): each.value for each in samples}


def test_a_run_has_an_exit_code_metrics_and_a_log_that_names_run_and_chunk(
    make_service, archive_url, port
):
    service = make_service(MERNET_METRICS_PORT=str(port), MERNET_LOG_FORMAT="json")
    with service.worker():
        service.wait_for("a worker", lambda: " ready." in service.log())
        ran = service.run("run", "full", *volumes(archive_url), "--follow", "--json")
        assert ran.returncode == PRODUCTS_FAILED
        run = json.loads(ran.stdout)
        assert service.run("reconcile").returncode == PRODUCTS_FAILED
        products = metric(port, "mernet_products_total")
        assert products["classified", ""] == run["classified"]
        assert products["failed", "not found"] == run["failures"]["not found"]
        assert metric(port, "mernet_stage_seconds_count")["fetch",] >= run["classified"]
        assert metric(port, "mernet_fetched_bytes_total")[()] > 0

        status = service.json("status")
        assert len(status["broker"]["workers"]) == 1
        assert status["broker"]["waiting"] == {"listing": 0, "classify": 0}
        assert status["broker"]["consumers"] == {"listing": 1, "classify": 1}
        assert status["rate"] > 0

        for reason, code in (
            ("not-found", PRODUCTS_FAILED),
            ("damaged", NOTHING_LEFT),
            ("bad-weather", NO_SUCH_REASON),
        ):
            retry = service.run("run", "retry", "1", "--reason", reason, "--follow")
            assert retry.returncode == code

    lines = [json.loads(line) for line in service.log().splitlines() if line.startswith("{")]
    done = [each for each in lines if each["message"].startswith("Task mernet.classify_chunk[")]
    ended = [each for each in done if "succeeded" in each["message"]]
    assert {(each["run"], each["chunk"]) for each in ended} == {(1, 1), (2, 1)}
    assert all(f"[run-{each['run']}-chunk-{each['chunk']}-" in each["message"] for each in ended)
    assert f"'{run['classified']} classified, {run['failed']} failed (" in ended[0]["message"]


def test_a_paused_run_stops_and_continues_from_there(make_service, gated_archive):
    service = make_service(MERNET_CHUNK_SIZE="2")
    with service.worker("--processes", "1"):
        service.succeed("run", "full", *volumes(gated_archive.url))
        assert gated_archive.caller_waits.wait(120)
        service.succeed("run", "pause", "1")
        gated_archive.is_open.set()

        def at_hand() -> int:
            return service.json("status", "1")["chunks"].get("claimed", 0)

        service.wait_for("the end of the chunk at hand", lambda: at_hand() == 0)
        still = service.json("status", "1")
        assert still["run"]["paused"]
        assert still["waiting"] > 0
        service.succeed("run", "resume", "1")
        end = service.run("status", "1", "--follow", "--json")
    finished = json.loads(end.stdout)
    assert (finished["run"]["state"], finished["waiting"]) == ("finished", 0)
