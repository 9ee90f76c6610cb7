"""A full run over the sample archive: real worker processes, HTTP, Postgres, Redis."""

import csv
from pathlib import Path

import numpy as np
import pytest

from mernet.model.classes import CODES


@pytest.fixture
def truth(archive: Path) -> dict[str, dict[str, str]]:
    with (archive / "truth.csv").open(newline="") as file:
        return {row["product_id"]: row for row in csv.DictReader(file)}


def volumes(url: str) -> list[str]:
    return ["--archive", f"{url}mer1po_0xxx/", "--archive", f"{url}mer2po_0xxx/"]


def test_a_run_classifies_every_eligible_product_and_publishes_what_the_scores_imply(
    make_service, archive_url, truth
):
    service = make_service()

    run = service.json("run", "full", *volumes(archive_url), "--follow")
    assert run["run"]["state"] == "finished"

    # Every eligible product has the outcome that the truth expects.
    outcomes = dict(service.rows("SELECT product_id, state FROM outcome"))
    assert outcomes == {product: row["expected"] for product, row in truth.items()}
    reasons = dict(service.rows("SELECT product_id, reason FROM outcome WHERE state = 'failed'"))
    assert reasons == {
        product: row["reason"] for product, row in truth.items() if row["expected"] == "failed"
    }
    assert sorted(reasons.values()) == ["not found", "truncated"]

    # The published rows are those that the kept scores imply, and there are some.
    scores = service.rows("SELECT product_id, scores FROM outcome WHERE state = 'classified'")
    implied = {
        (product, code)
        for product, row in scores
        for code, score in zip(CODES, np.float32(row), strict=True)
        if score > np.float32(0.9)
    }
    published = set(service.rows("SELECT product_id, class FROM classification"))
    assert published == implied
    assert published
    assert service.json("reconcile")["ok"]

    # Run again, it does no work twice.
    before = service.rows("SELECT product_id, finished_at FROM outcome ORDER BY product_id")
    again = service.json("run", "full", *volumes(archive_url), "--follow")
    assert again["kept"] == again["listed"] == len(truth)
    assert service.rows("SELECT product_id, finished_at FROM outcome ORDER BY product_id") == before

    # What is there can be searched for.
    code = max(CODES, key=[code for _, code in published].count)
    hits = service.json("search", code)
    assert {hit["product_id"] for hit in hits} == {p for p, c in published if c == code}
    counts = {row["class"]: row["images"] for row in service.json("search")}
    assert counts[code] == len(hits)
    shown = service.json("show", hits[0]["product_id"])
    assert list(shown) == list(CODES)
    assert shown[code] == pytest.approx(hits[0][code])

    exported = service.succeed("search", code, "--csv").splitlines()
    assert len(exported) == 1 + len(hits)

    # The failed ones can be tried again, and only those.
    retried = service.json("run", "retry", "--reason", "not found", "--follow")
    assert (retried["listed"], retried["failed"]) == (1, 1)


def test_the_log_of_a_healthy_worker_tells_of_no_discarded_task(make_service, gated_archive):
    """Messages that waited for longer than a sweep were once among them."""
    service = make_service(MERNET_CHUNK_SIZE="3", MERNET_SWEEP_SECONDS="1")
    sweeps: set[object] = set()

    def are_swept_a_few_times() -> bool:
        sweeps.update(service.rows("SELECT since FROM service_lock WHERE name = 'sweep'"))
        return len(sweeps) > 3

    service.succeed("run", "full", *volumes(gated_archive.url))
    with service.worker("--processes", "1"):
        assert gated_archive.caller_waits.wait(120), service.log()
        service.wait_for("a few sweeps", are_swept_a_few_times)
        service.succeed("health", "worker")
        gated_archive.is_open.set()
        service.wait_for(
            "the end", lambda: service.rows("SELECT state FROM run") == [("finished",)]
        )
    log = service.log()
    assert "Task mernet.classify_chunk[run-1-chunk-2-" in log
    assert "Discarding" not in log


def test_products_left_out_are_counted_with_their_reason(make_service, archive_url):
    service = make_service()
    run = service.json("run", "full", *volumes(archive_url), "--follow")
    reasons = {reason: entry["count"] for reason, entry in run["run"]["left_out"].items()}
    assert set(reasons) >= {
        "not left eye",
        "not filter 2",
        "not an image type",
        "not 512x512 or 1024x1024",
        "superseded by a higher version",
    }
    assert run["run"]["rows_read"] == run["listed"] + sum(reasons.values())


def test_a_pds4_bundle_is_classified_like_a_pds3_volume(make_service, archive_url):
    service = make_service()
    inventory = f"{archive_url}pds4/collection_data_inventory.csv"
    run = service.json("run", "full", "--archive", inventory, "--products", "rdr", "--follow")
    assert run["listed"] == run["classified"] == 12
    assert service.json("reconcile")["ok"]


def test_an_archive_without_the_index_asked_for_ends_the_run_with_the_reason(
    make_service, archive_url
):
    service = make_service()
    ran = service.run("run", "full", "--products", "rdr", *volumes(archive_url), "--follow")
    assert ran.returncode == 1
    told = " ".join(ran.stdout.split())
    assert "Run 1 has failed" in told
    assert "rdrindex.lbl" in told
    assert "check the archive's base URL" in told


@pytest.mark.real
def test_a_folder_of_real_products_gives_the_one_that_is_eligible(make_service, real_files):
    service = make_service()
    folder = str(real_files / "products")
    run = service.json("run", "full", "--archive", folder, "--products", "any", "--follow")
    assert (run["listed"], run["classified"]) == (1, 1)
    assert service.rows("SELECT product_id FROM outcome") == [("2P295043688FFLB1DNP2380L2M1",)]
    left_out = {
        name: reason
        for reason, entry in run["run"]["left_out"].items()
        for name in entry["examples"]
    }
    assert left_out == {
        "1F483288473EFFCMUFP1214L0M1.IMG": "not Pancam",
        "1f128285236edn0000p1001l0m1.img": "not Pancam",
        "1N491020376ILFCNY9P0706L0M1.IMG": "not Pancam",
        "2n292280938radb100p0703l0c1.img": "not Pancam",
        "2p129641989eth0361p2600r8m1.img": "not left eye",
        "1p190678905erp64kcp2600l8c1.img": "not filter 2",
        "1p216067135edn76pop2102l2m1.img": "not 512x512 or 1024x1024",
    }


@pytest.mark.real
def test_classify_gives_every_real_product_25_probabilities_without_a_database(
    make_service, real_files, checkpoint
):
    service = make_service()
    service.succeed("services", "stop")
    files = sorted(str(path) for path in (real_files / "products").iterdir())
    results = service.json("classify", *files, "--checkpoint", str(checkpoint))
    assert [result["file"] for result in results] == files
    for result in results:
        assert list(result["probabilities"]) == list(CODES)
        assert all(0 <= p <= 1 for p in result["probabilities"].values())
    assert all(not each["running"] for each in service.json("services", "status"))
