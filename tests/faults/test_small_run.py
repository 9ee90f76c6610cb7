"""A small run is not kept waiting by one of a million products."""

from faults.test_interruptions import QUICK, finished, volumes

LARGE_CHUNKS = 2000
MOST_BEFORE = 12


def closed_before(service, run_id: int) -> int:
    """How many chunks of other runs were closed before the last one of this run."""
    (row,) = service.rows(
        f"SELECT count(*) FROM chunk WHERE run_id <> {run_id} AND closed_at < "
        f"(SELECT max(closed_at) FROM chunk WHERE run_id = {run_id})"
    )
    return row[0]


def test_the_chunks_of_a_new_run_are_among_the_first_dozen_behind_a_large_run(
    make_service, archive_url
):
    service = make_service(**QUICK | {"MERNET_CHUNK_SIZE": "8"})
    first, second = volumes(archive_url)[:2], volumes(archive_url)[2:]
    large = service.json("run", "new", *first)["run"]["run_id"]
    service.execute(
        f"INSERT INTO chunk (run_id, number) SELECT {large}, n "
        f"FROM generate_series(100, {99 + LARGE_CHUNKS}) AS n"
    )
    # As many messages as the service lets wait, as if its worker had been at the large run.
    with service.worker("--processes", "1"):
        service.wait_for("chunks of the large run", lambda: closed(service, large) > 20)
    small = service.json("run", "new", *second)["run"]["run_id"]
    before = closed(service, large)
    with service.worker("--processes", "1"):
        service.wait_for("the end of the small run", lambda: finished(service))
    assert closed_before(service, small) - before <= MOST_BEFORE
    assert service.rows(f"SELECT state FROM run WHERE run_id = {large}") == [("running",)]


def closed(service, run_id: int) -> int:
    return service.rows(
        f"SELECT count(*) FROM chunk WHERE run_id = {run_id} AND closed_at IS NOT NULL"
    )[0][0]
