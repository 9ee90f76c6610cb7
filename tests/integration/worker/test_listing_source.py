"""Listings over HTTP from hosts that are down in parts or in all: what waits, fails or is left."""

import threading
from collections.abc import Callable

import pytest

from faults import flaky_archive
from faults.flaky_archive import (
    FlakyArchive,
    Request,
    busy,
    html,
    redirect_elsewhere,
    redirect_in_a_circle,
    serve,
)
from fixtures.index_volume import LABEL, name
from mernet.db import ledger, obstacles
from mernet.db.ledger import NewRun
from mernet.db.obstacles import ObstacleKind
from mernet.demo import pds4_bundle
from mernet.errors import MernetError
from mernet.pds.fetch import Fetcher
from mernet.worker.archive_hosts import HostRules
from mernet.worker.listing import LISTING_ATTEMPTS, record_products

RULES = HostRules(connections=1, queue_seconds=0)
REFUSALS = [busy(403), redirect_elsewhere, busy(408), html, busy(503)]


@pytest.fixture
def web(tmp_path):
    """A web server over the test's folder."""
    archive = FlakyArchive(tmp_path)
    archive.start()
    yield archive
    archive.stop()


@pytest.fixture
def run_listing(story, web):
    """Lists a new run over an archive; gives the run afterwards."""

    def run_listing(path: str = "volume/", tries: int = 1, products: str = "edr"):
        new = NewRun(archives=(f"{web.url}{path}",), products=products)
        run_id = ledger.create_run(story.engine, new).run_id
        for _ in range(tries):
            list_again(story, run_id)
        return ledger.get_run(story.engine, run_id)

    return run_listing


def list_again(story, run_id: int) -> None:
    story.execute("UPDATE obstacle SET next_try_at = now()")
    with Fetcher(attempts=1) as fetcher:
        try:
            record_products(story.engine, run_id, "lister", fetcher, 600, RULES)
        except MernetError:
            assert ledger.get_run(story.engine, run_id).error


def where(condition: Callable[[str], bool], otherwise) -> Callable[[Request], None]:
    """Serve the files at some paths, and behave otherwise at all others."""

    def behave(request: Request) -> None:
        (serve if condition(request.path) else otherwise)(request)

    return behave


def web_page_for_what_is_missing(request: Request) -> None:
    (serve if request.body() is not None else html)(request)


def waits_for(story) -> str:
    [found] = obstacles.current(story.engine)
    return found.reason


@pytest.mark.parametrize(
    "files",
    [
        ("index/edrindex.lbl", "index/edrindex.tab"),
        ("INDEX/EDRINDEX.LBL", "INDEX/EDRINDEX.TAB"),
        ("index/EDRINDEX.LBL", "index/edrindex.tab"),
        ("INDEX/edrindex.lbl", "INDEX/EDRINDEX.TAB"),
    ],
)
def test_a_web_page_at_one_place_lets_the_index_be_found_at_another(
    story, web, run_listing, tmp_path, files
):
    for file, text in zip(files, (LABEL, table()), strict=True):
        write(tmp_path / "volume" / file, text)
    web.behaviour = web_page_for_what_is_missing
    assert run_listing().state == "running"
    assert story.rows("SELECT count(*) FROM product") == [(3,)]


def test_a_host_of_web_pages_only_makes_the_listing_wait_until_it_is_healthy(
    story, web, run_listing, volume
):
    web.behaviour = html
    run = run_listing(tries=LISTING_ATTEMPTS + 1)
    assert (run.state, run.attempts) == ("listing", 0)
    assert "answered with a web page" in waits_for(story)
    web.behaviour = serve
    list_again(story, run.run_id)
    assert ledger.get_run(story.engine, run.run_id).state == "running"
    assert obstacles.current(story.engine) == []


@pytest.mark.parametrize("refusal", REFUSALS)
def test_the_listing_of_a_known_archive_waits_while_its_host_refuses_everything(
    story, web, run_listing, volume, refusal
):
    run_listing()
    for clock in (1, 2, 3):
        write(volume.index.parent / "data" / f"{name(clock).lower()}.img", "PDS_VERSION_ID\0")
    web.behaviour = refusal
    run = run_listing(tries=LISTING_ATTEMPTS + 1)
    assert (run.state, run.attempts) == ("listing", 0)
    web.behaviour = serve
    list_again(story, run.run_id)
    assert ledger.get_run(story.engine, run.run_id).state == "running"


@pytest.mark.parametrize("refusal", [busy(403), redirect_elsewhere])
def test_an_archive_that_was_never_listed_and_is_refused_fails_after_a_while_with_the_cause(
    story, web, run_listing, volume, refusal
):
    web.behaviour = refusal
    run = run_listing(tries=LISTING_ATTEMPTS + 1)
    assert (run.state, run.attempts) == ("listing", 0)
    cause = waits_for(story)
    story.execute("UPDATE obstacle SET since = now() - interval '301 seconds'")
    list_again(story, run.run_id)
    run = ledger.get_run(story.engine, run.run_id)
    assert (run.state, run.error) == ("failed", cause)
    assert obstacles.current(story.engine) == []


@pytest.fixture
def bundle(tmp_path):
    """A PDS4 collection of 8 products; gives the path of its inventory and its labels."""
    pds4_bundle.write_bundle(tmp_path / "pds4", 7)
    (inventory,) = (tmp_path / "pds4").rglob("collection*.csv")
    labels = sorted(each.name for each in (tmp_path / "pds4").rglob("2p*l2*.xml"))
    return inventory.relative_to(tmp_path).as_posix(), labels


def first_time(otherwise: Callable[[Request], None], suffix: str) -> Callable[[Request], None]:
    """Behave otherwise at the first request of a file of that suffix, and serve all others."""
    is_over = threading.Event()

    def behave(request: Request) -> None:
        if is_over.is_set() or not request.path.endswith(suffix):
            serve(request)
        else:
            is_over.set()
            otherwise(request)

    return behave


@pytest.mark.parametrize("suffix", [".lbl", ".tab"])
@pytest.mark.parametrize("fault", [*REFUSALS, redirect_in_a_circle])
def test_a_fault_that_is_over_when_the_host_is_probed_costs_nothing(
    web, run_listing, volume, fault, suffix
):
    web.behaviour = first_time(fault, suffix)
    assert run_listing().state == "running"


@pytest.mark.parametrize("fault", [html, busy(503), flaky_archive.close_connections])
def test_a_label_that_is_never_had_leaves_out_its_product_only(
    story, web, run_listing, bundle, fault
):
    inventory, labels = bundle
    web.behaviour = where(lambda path: not path.endswith(labels[1]), fault)
    run = run_listing(inventory, products="any")
    assert run.state == "running"
    assert run.left_out["unreadable label"].count == 1
    assert story.rows("SELECT count(*) FROM product") == [(len(labels) - 1,)]
    assert obstacles.current(story.engine) == []


@pytest.mark.parametrize("fault", [html, busy(503)])
def test_a_listing_goes_on_waiting_if_its_host_goes_down_between_two_labels(
    story, web, run_listing, bundle, fault
):
    inventory, labels = bundle
    served = []

    def go_down(request: Request) -> None:
        served.append(request.path)
        (serve if len(served) < 5 else fault)(request)

    web.behaviour = go_down
    run = run_listing(inventory, products="any")
    assert (run.state, run.attempts) == ("listing", 0)
    web.behaviour = serve
    list_again(story, run.run_id)
    assert story.rows("SELECT count(*) FROM product") == [(len(labels),)]


def test_an_inventory_that_is_broken_for_ever_ends_the_run_while_its_host_answers(
    story, web, run_listing, bundle
):
    inventory, _ = bundle
    web.behaviour = where(lambda path: not path.endswith(".csv"), busy(500))
    run = run_listing(inventory, tries=LISTING_ATTEMPTS, products="any")
    assert run.state == "failed"
    assert "answered with 500" in run.error


def test_an_index_label_that_is_broken_for_ever_ends_the_run_while_its_host_answers(
    story, web, run_listing, volume
):
    web.behaviour = where(lambda path: not path.endswith("edrindex.lbl"), busy(500))
    run = run_listing("volume/index/edrindex.lbl", tries=LISTING_ATTEMPTS)
    assert run.state == "failed"
    assert "answered with 500" in run.error


def test_a_listing_without_a_free_connection_is_postponed_uncounted_and_then_made(
    story, web, run_listing, volume
):
    host = web.url.rstrip("/")
    lease_the_only_connection(story, host)
    run = run_listing(tries=LISTING_ATTEMPTS + 1)
    assert (run.state, run.attempts) == ("listing", 0)
    [found] = obstacles.current(story.engine)
    assert (found.kind, found.subject) == (ObstacleKind.CONNECTIONS, host)
    assert found.reason == f"The only connection to {host} is in use."
    assert found.run_ids == (run.run_id,)
    story.execute("DELETE FROM archive_connection WHERE holder = 'another'")
    list_again(story, run.run_id)
    assert ledger.get_run(story.engine, run.run_id).state == "running"
    assert obstacles.current(story.engine) == []


def lease_the_only_connection(story, host: str) -> None:
    story.execute(
        "INSERT INTO archive_connection (host, holder, connections, expires_at)"
        " VALUES (:host, 'another', 1, now() + interval '1 hour')",
        host=host,
    )


def table() -> str:
    rows = (f'"/volume/data/"\t"{name(clock).lower()}.img"\t1024\t1024\r\n' for clock in (1, 2, 3))
    return "".join(rows)


def write(path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, newline="")
