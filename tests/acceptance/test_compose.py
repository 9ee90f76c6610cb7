"""The services of docker-compose.yml do the whole work together, each by its own command."""

import contextlib
import json
import re
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from fixtures.compose import PATIENCE, ROOT, SERVERS, Stack, example_variables
from fixtures.service import GatedArchive, gated
from fixtures.volume import GrowingVolume, as_version, at_clock
from mernet.worker.server_urls import with_password

NEW, VERSIONS, WITHDRAWN = 30, 5, 2
OPERATOR = ("operator", secrets.token_hex(24))
PASSWORDS = (
    *("postgres_password", "owner_password", "worker_password", "redis_password"),
    "reader_password",
)
SOME_FAILED = 3
OURS = ("worker-listing", "worker-classify-cpu", "scheduler", "flower", "exporter")
FLOWER, EXPORTER, CLASSIFY_METRICS = 5555, 9808, 9809


def filled_in(archive: str) -> dict[str, str]:
    """Return .env.example filled in by an operator who wants a daily ingest of the archive."""
    daily = {"MERNET_INGEST_SECONDS": "86400", "MERNET_INGEST_ARCHIVES": archive}
    return example_variables() | daily


def new_secrets() -> dict[str, str]:
    passwords = {name: secrets.token_hex(24) for name in PASSWORDS}
    return passwords | {"flower_login": ":".join(OPERATOR)}


def wait_for(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def volume(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> GrowingVolume:
    folder = tmp_path_factory.mktemp("growing") / "mer1po_0xxx"
    return GrowingVolume(shutil.copytree(archive / "mer1po_0xxx", folder))


@pytest.fixture(scope="module")
def growing_archive(volume: GrowingVolume) -> Iterator[GatedArchive]:
    """The archive that the products are listed by, whose gate is open until a test closes it."""
    with gated(volume.folder.parent, "127.0.0.1", free_images=sys.maxsize) as archive:
        yield archive


@pytest.fixture(scope="module")
def url(growing_archive: GatedArchive, volume: GrowingVolume) -> str:
    return f"{growing_archive.url}{volume.folder.name}/"


@pytest.fixture(scope="module")
def stack(checkpoint: Path, url: str) -> Iterator[Stack]:
    """Every service is up and healthy, and a classifier is current."""
    folder = Path(tempfile.mkdtemp(prefix="mernet-"))
    stack = Stack(folder, filled_in(url), new_secrets())
    try:
        stack.up()
        added = mernet(stack, "classifier", "add", str(checkpoint), "--promote")
        assert added.returncode == 0, added.stderr
        yield stack
    finally:
        stack.kill()
        shutil.rmtree(folder, ignore_errors=True)


def mernet(stack: Stack, *words: str) -> Any:
    """A command as the operator gives it: docker compose exec worker-listing mernet ..."""
    return stack.run("worker-listing", "mernet", *words)


@dataclass(frozen=True)
class History:
    """What was done: a full run, then one of what the archive had new."""

    full: dict[str, Any]
    new: dict[str, Any]
    published: set[str]
    gone: set[str]


@pytest.fixture(scope="module")
def history(stack: Stack, volume: GrowingVolume, url: str) -> History:
    full = mernet(stack, "run", "full", "--archive", url, "--follow", "--json")
    assert full.returncode in (0, SOME_FAILED), full.stderr
    before = sorted(shown(stack))
    superseded, withdrawn = before[:VERSIONS], before[-WITHDRAWN:]
    assert set(superseded).isdisjoint(withdrawn)
    models = [before[number % VERSIONS] for number in range(NEW)]
    new = {at_clock(model, 300_000_000 + number): model for number, model in enumerate(models)}
    versions = {as_version(name, "9"): name for name in superseded}
    for name, like in (new | versions).items():
        volume.add(name, like)
    for name in withdrawn:
        volume.withdraw(name)
    volume.publish()
    second = mernet(stack, "run", "new", "--archive", url, "--follow", "--json")
    assert second.returncode == 0, second.stderr
    return History(
        json.loads(full.stdout),
        json.loads(second.stdout),
        published={*new, *versions},
        gone={*superseded, *withdrawn},
    )


def shown(stack: Stack) -> set[str]:
    return {name for (name,) in stack.rows("SELECT product_id FROM atlas_search")}


def flower(stack: Stack, path: str, auth: tuple[str, str] | None = OPERATOR) -> requests.Response:
    return requests.get(stack.url(FLOWER) + path, auth=auth, timeout=30)


def test_a_full_run_finishes(history):
    assert history.full["run"]["state"] == "finished"
    assert history.full["classified"] > 0


def test_run_new_contains_exactly_what_is_new(stack, history):
    run_id = history.new["run"]["run_id"]
    found = stack.rows(f"SELECT product_id FROM run_product WHERE run_id = {run_id}")
    assert {name for (name,) in found} == history.published
    assert history.new["classified"] == NEW + VERSIONS
    assert history.published <= shown(stack)  # each has the pixels of one that was shown
    assert shown(stack).isdisjoint(history.gone)


@pytest.mark.parametrize("path", ["/", "/workers", "/tasks", "/api/workers", "/api/tasks"])
def test_flower_refuses_a_missing_or_wrong_password(stack, path):
    assert flower(stack, path, auth=None).status_code == 401
    assert flower(stack, path, auth=(OPERATOR[0], "wrong")).status_code == 401


@pytest.mark.parametrize("path", ["/", "/workers", "/tasks", "/broker"])
def test_flowers_pages_answer_the_operator(stack, path):
    page = flower(stack, path)
    assert page.status_code == 200
    assert "text/html" in page.headers["Content-Type"]


def test_flower_shows_which_worker_has_which_queues(stack):
    workers = flower(stack, "/api/workers?refresh=1").json()
    queues = {
        node.partition("@")[0]: {queue["name"] for queue in worker["active_queues"]}
        for node, worker in workers.items()
    }
    assert queues.keys() == {"listing", "classify"}
    assert {"listing"} < queues["listing"]
    assert "classify" in queues["classify"]


def test_flower_shows_each_task_by_run_and_chunk_with_its_result(stack, history):
    run = history.full["run"]["run_id"]

    def task(subject: str) -> dict[str, Any]:
        tasks = flower(stack, "/api/tasks").json().values()
        return next((each for each in tasks if each["args"] == subject), {"state": "not seen"})

    listing, chunk = f"run {run}", f"run {run} chunk 1"
    wait_for("both", lambda: task(listing)["state"] == task(chunk)["state"] == "SUCCESS")
    assert task(listing)["name"] == "mernet.list_run"
    assert task(listing)["worker"].startswith("listing@")
    assert f"{history.full['listed']} products listed" in task(listing)["result"]
    assert task(chunk)["name"] == "mernet.classify_chunk"
    assert task(chunk)["worker"].startswith("classify@")
    assert f"{history.full['classified']} classified" in task(chunk)["result"]


def metric_names(address: str) -> set[str]:
    """Return the names of all samples, and of families that have none now, such as obstacles."""
    families = list(text_string_to_metric_families(requests.get(address, timeout=30).text))
    samples = {sample.name for family in families for sample in family.samples}
    return samples | {family.name for family in families if not family.samples}


def test_the_metrics_of_the_alerts_exist(stack, history):
    in_alerts = set(re.findall(r"\bmernet_\w+", (ROOT / "ops" / "alerts.yml").read_text()))
    served = metric_names(stack.url(EXPORTER) + "/metrics")
    served |= metric_names(stack.url(CLASSIFY_METRICS) + "/metrics")
    assert in_alerts <= served


def test_the_atlas_reads_the_view_with_its_password_and_nothing_else(stack, history):
    def query(sql: str, password: str = stack.secrets["reader_password"]) -> list[Any]:
        connection = psycopg2.connect(
            host="127.0.0.1",
            port=stack.ports["5432"],
            dbname="mernet",
            user="atlas",
            password=password,
        )
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()

    names = {name for (name,) in query("SELECT product_id FROM atlas_search")}
    assert names == shown(stack)
    for forbidden in ("SELECT FROM outcome", "SELECT FROM run", "CREATE TABLE mine (n int)"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            query(forbidden)
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        query("SELECT", password="wrong")


def test_no_list_of_processes_shows_a_password(stack):
    commands = [
        " ".join(process.cmdline())
        for started in stack.processes.values()
        if started.poll() is None
        for process in (psutil.Process(started.pid), *psutil.Process(started.pid).children())
    ]
    assert not [command for command in commands if shows_a_secret(stack, command)]


def shows_a_secret(stack: Stack, text: str) -> bool:
    return any(word in text for word in (*(stack.secrets[name] for name in PASSWORDS), OPERATOR[1]))


def test_no_log_and_no_environment_of_a_service_shows_a_password(stack, history):
    shown = [name for name in stack.processes if shows_a_secret(stack, stack.log(name))]
    assert shown == []
    assert not [name for name in OURS if shows_a_secret(stack, str(stack.environment(name)))]


@pytest.mark.parametrize("path", ["/", "/workers", "/broker", "/tasks", "/api/workers?refresh=1"])
def test_no_page_of_flower_shows_a_password(stack, history, path):
    assert not shows_a_secret(stack, flower(stack, path).text)


def test_the_page_of_a_worker_shows_no_password(stack, history):
    for node in flower(stack, "/api/workers?refresh=1").json():
        assert not shows_a_secret(stack, flower(stack, f"/worker/{node}").text)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE run",
        "ALTER TABLE outcome ADD mine text",
        "CREATE TABLE mine (n int)",
        "TRUNCATE outcome CASCADE",
        "DELETE FROM run_product",
        "DELETE FROM outcome_history",
        "DELETE FROM product_history",
        "UPDATE alembic_version SET version_num = '0001'",
        "CREATE ROLE mine",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('postgresql.conf')",
        "SET ROLE mernet_owner",
        "ALTER ROLE atlas PASSWORD 'mine'",
    ],
)
def test_a_worker_s_login_changes_rows_and_nothing_else(stack, statement):
    given = stack.environment("worker-listing")
    url = with_password(given["MERNET_DATABASE_URL"], stack.secrets["worker_password"])
    with (
        contextlib.closing(psycopg2.connect(url)) as connection,
        connection.cursor() as cursor,
        pytest.raises(psycopg2.errors.InsufficientPrivilege),
    ):
        cursor.execute(statement)


def test_the_owner_of_the_tables_is_no_superuser(stack):
    ((is_superuser, makes_roles),) = stack.rows(
        "SELECT rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user"
    )
    assert not is_superuser
    assert not makes_roles


def test_starting_again_changes_nothing_and_gives_new_passwords(stack, history):
    before = shown(stack)
    for name in ("logins", "migrate", "atlas-reader"):
        again = stack.run(name, *stack.services[name]["command"].split())
        assert again.returncode == 0, again.stderr
        assert not shows_a_secret(stack, again.stdout + again.stderr)
        assert "may also" not in again.stderr
    assert shown(stack) == before


def test_all_services_end_when_told_to_and_lose_nothing(stack, history, growing_archive, url):
    """Comes last: afterwards nothing runs."""
    growing_archive.free_images = next(growing_archive.handed_out) + 6
    sent = mernet(stack, "run", "full", "--archive", url, "--reclassify", "--json")
    assert sent.returncode == 0, sent.stderr
    run_id = json.loads(sent.stdout)["run"]["run_id"]
    chunks = f"SELECT state FROM chunk WHERE run_id = {run_id}"
    assert growing_archive.caller_waits.wait(PATIENCE)
    assert stack.rows(chunks) == [("claimed",)]

    ours = [name for name in stack.processes if name not in SERVERS]
    stack.tell_to_end(ours)
    growing_archive.is_open.set()
    codes = stack.exit_codes(ours)

    assert stack.rows(chunks) == [("done",)]
    products = stack.rows(f"SELECT count(*) FROM run_product WHERE run_id = {run_id}")
    assert products == stack.rows(f"SELECT count(*) FROM outcome WHERE run_id = {run_id}")
    stack.tell_to_end(SERVERS)
    codes |= stack.exit_codes(SERVERS)
    assert codes == dict.fromkeys(codes, 0)
    kept = stack.folder / "data"
    assert list(kept.glob("flower*"))
    assert list(kept.glob("scheduler/last-sweep"))
