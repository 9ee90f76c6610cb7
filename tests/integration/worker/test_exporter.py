"""The service's metrics, scraped over HTTP; alerts and dashboard use no others."""

import json
import math
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml
from prometheus_client import REGISTRY, CollectorRegistry, start_http_server
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from mernet.db import classifiers, ledger, obstacles
from mernet.db.classifiers import NewClassifier
from mernet.db.obstacles import ObstacleKind, Patience
from mernet.db.publish import Classified, Failed
from mernet.worker import broker, sending
from mernet.worker.app import make_app
from mernet.worker.embedded import EmbeddedRedis
from mernet.worker.exporter import ServiceCollector
from mernet.worker.metrics import STAGE_SECONDS, count_batches, count_outcome
from mernet.worker.settings import Settings
from tests.conftest import ROOT

ALERTS = ROOT / "ops" / "alerts.yml"
RUNBOOKS = ROOT / "docs" / "operations.md"
DASHBOARD = ROOT / "ops" / "grafana" / "mernet.json"


@pytest.fixture
def redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path)
    server.start()
    for module in (sending, broker):
        monkeypatch.setattr(module, "app", make_app(Settings(broker_url=server.url)))
    yield server
    server.stop()


def scraped(engine: sa.Engine, **settings: object) -> list[Sample]:
    registry = CollectorRegistry()
    registry.register(ServiceCollector(engine, Settings(**settings)))
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        url = f"http://127.0.0.1:{server.server_port}/metrics"
        with urllib.request.urlopen(url) as answer:
            text = answer.read().decode()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def values(samples: list[Sample]) -> dict[tuple[str, ...], float]:
    """By name without its prefix, followed by the labels' values."""
    return {
        (each.name.removeprefix("mernet_"), *each.labels.values()): each.value for each in samples
    }


def a_run_under_way(story) -> int:
    """Four chunks: one published, one claimed, one sent, one not sent; another run paused."""
    run_id = story.listed(count=8, chunk_size=2)
    sending.send_chunks(story.engine, run_id)
    ledger.mark_unsent(story.engine, run_id, [4])
    first, second = story.claim(run_id, 1).products
    outcomes = [
        Classified(first.product_id, [0.5] * 25),
        Failed(second.product_id, "not found", "It is gone."),
    ]
    story.settle(run_id, 1, outcomes)
    story.claim(run_id, 2)
    ledger.pause_run(story.engine, story.listed(count=8, reclassify=True))
    return run_id


def test_a_scrape_returns_the_state_of_ledger_and_broker(story, redis):
    run_id = a_run_under_way(story)
    story.execute(
        "UPDATE chunk SET"
        " last_heartbeat_at = now() - interval '70 s', sent_at = now() - interval '90 s'"
        " WHERE run_id = :run_id AND number = 2",
        run_id=run_id,
    )
    found = values(scraped(story.engine))
    expected = {
        ("ledger_up",): 1,
        ("broker_up",): 1,
        ("runs", "running"): 1,
        ("runs", "paused"): 1,
        ("runs", "failed"): 0,
        ("outcomes", "classified", ""): 1,
        ("outcomes", "failed", "not found"): 1,
        ("open_chunks", "unsent"): 1,
        ("open_chunks", "queued"): 1,
        ("open_chunks", "claimed"): 1,
        ("queue_messages", "classify"): 4,
        ("queue_messages", "listing"): 0,
        ("unacknowledged_messages",): 0,
        ("consumers", "classify"): 0,
        ("workers",): 0,
    }
    assert {key: found[key] for key in expected} == expected
    assert 70 <= found["oldest_heartbeat_seconds",] < 90 <= found["oldest_message_seconds",] < 120
    assert 0 <= found["idle_seconds",] < 30


def test_what_work_waits_for_is_a_gauge_of_its_age_in_seconds(story, redis):
    patience = Patience(5, 300)
    obstacles.report(story.engine, ObstacleKind.ARCHIVE_HOST, "https://a", "down", patience)
    obstacles.let_ingest_wait(story.engine, [(ObstacleKind.ARCHIVE_HOST, "https://a")])
    story.execute("UPDATE obstacle SET since = now() - interval '100 s'")
    found = values(scraped(story.engine))
    assert found["obstacle_age_seconds", "archive host", "https://a"] == pytest.approx(100, abs=20)


def test_a_run_that_waits_is_counted_as_waiting_and_does_not_idle(story, redis):
    run_id = story.listed(count=8)
    story.execute("UPDATE run SET created_at = now() - interval '1 hour'")
    assert values(scraped(story.engine))["idle_seconds",] > 3000
    obstacles.report(story.engine, ObstacleKind.DATABASE, "mernet", "disk full", Patience(5, 300))
    story.claim(run_id, 1)
    ledger.postpone(
        story.engine, run_id, 1, "worker", ObstacleKind.DATABASE, "mernet", sources=[""]
    )
    found = values(scraped(story.engine))
    assert (found["runs", "waiting"], found["runs", "running"]) == (1, 0)
    assert found["idle_seconds",] == 0
    assert found["obstacle_age_seconds", "database", "mernet"] >= 0


def test_without_open_work_all_ages_are_zero(story, redis):
    found = values(scraped(story.engine))
    ages = ("oldest_heartbeat_seconds", "oldest_message_seconds", "idle_seconds")
    assert [found[age,] for age in ages] == [0, 0, 0]


def test_workers_are_counted_by_each_queue_that_they_consume(story, redis, monkeypatch):
    consumed = {"b@host": ["classify"], "a@host": ["classify", "a@host.dq2"], "c@host": []}
    answers = {name: [{"name": each} for each in queues] for name, queues in consumed.items()}
    monkeypatch.setattr("celery.app.control.Inspect.active_queues", lambda self: answers)
    assert broker.broker_state().consumers == {"listing": 0, "classify": 2}
    assert broker.broker_state().workers == ("a@host", "b@host", "c@host")


def record_check(
    story, source: str, products: str, seconds_ago: int, classifier: str = "a" * 64
) -> None:
    story.execute(
        "INSERT INTO listing_state (classifier, source, products, url, sha256, checked_at) VALUES"
        " (:classifier, :source, :products, :source || :ago, repeat('c', 64),"
        " now() - make_interval(secs => :ago))",
        classifier=classifier,
        source=source,
        products=products,
        ago=seconds_ago,
    )


def test_the_last_check_of_each_archive_of_the_ingest_is_exported(story, redis):
    classifiers.add(story.engine, NewClassifier("b" * 64, "next", "/models/next", 0.9, {}))
    record_check(story, "https://example.org/a/", "edr", seconds_ago=500)
    record_check(story, "https://example.org/a/", "edr", seconds_ago=300)
    record_check(story, "https://example.org/a/", "rdr", seconds_ago=200)
    record_check(story, "https://example.org/a/", "edr", seconds_ago=100, classifier="b" * 64)
    record_check(story, "https://example.org/not-asked-for/", "edr", seconds_ago=400)
    archives = "https://example.org/a https://example.org/never/ /no/such/disk"
    found = scraped(story.engine, ingest_seconds=3600, ingest_archives=archives)
    checks = {each.labels["archive"]: each.value for each in found if "last_check" in each.name}
    assert checks == {"https://example.org/a": pytest.approx(300, abs=30)}
    assert values(found)["ingest_interval_seconds",] == 3600


def test_without_an_ingest_no_check_is_exported(story, redis):
    record_check(story, "https://example.org/a/", "edr", seconds_ago=300)
    names = {each.name for each in scraped(story.engine, ingest_archives="https://example.org/a/")}
    assert not {"mernet_ingest_last_check_age_seconds", "mernet_ingest_interval_seconds"} & names


def test_without_a_broker_the_metrics_of_the_ledger_are_exported(story, redis):
    redis.stop()
    found = values(scraped(story.engine))
    assert (found["broker_up",], found["ledger_up",]) == (0, 1)
    assert ("workers",) not in found


def test_without_a_ledger_the_metrics_of_the_broker_are_exported(redis):
    found = values(scraped(sa.create_engine("postgresql+psycopg2://nobody@/gone?host=/nowhere")))
    assert (found["broker_up",], found["ledger_up",]) == (1, 0)
    assert ("runs", "failed") not in found


def selectors(expression: str) -> list[tuple[str, str]]:
    """Each metric in a PromQL expression with its label matchers: ('up', 'job="mernet"')."""
    return re.findall(r"\b(mernet_\w+|up)\b(?:\{([^}]*)\})?", expression)


def missing(expression: str, existing: list[Sample]) -> list[str]:
    """The selectors of an expression that no sample fits."""
    asked = selectors(expression)
    assert asked, expression
    return [
        f"{name}{{{matchers}}}"
        for name, matchers in asked
        if not any(
            name == each.name
            and dict(re.findall(r'(\w+)="([^"]*)"', matchers)).items() <= each.labels.items()
            for each in existing
        )
    ]


@pytest.fixture
def existing(story, redis) -> list[Sample]:
    """What Prometheus would hold of a service under way, worker and exporter."""
    a_run_under_way(story)
    host = (ObstacleKind.ARCHIVE_HOST, "https://example.org")
    obstacles.report(story.engine, *host, "refused", Patience(5, 300))
    obstacles.let_ingest_wait(story.engine, [host])
    count_batches(1, 8)
    count_outcome(Failed("1P1", "not found", "It is gone."))
    STAGE_SECONDS.labels("fetch").observe(1)
    own = [sample for family in REGISTRY.collect() for sample in family.samples]
    record_check(story, "https://example.org/a/", "edr", seconds_ago=300)
    served = scraped(story.engine, ingest_seconds=60, ingest_archives="https://example.org/a/")
    up = [Sample("up", {"job": job}, 1.0) for job in ("mernet", "mernet-worker")]
    return [*served, *own, *up]


def test_every_alert_asks_for_metrics_that_exist_and_names_its_runbook(existing):
    headings = RUNBOOKS.read_text().splitlines()
    for rule in yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]:
        assert missing(rule["expr"], existing) == [], rule["alert"]
        assert rule["annotations"]["runbook"].endswith(f"#{rule['alert'].lower()}")
        assert f"### {rule['alert']}" in headings


def test_every_panel_of_the_dashboard_asks_for_metrics_that_exist(existing):
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            assert missing(target["expr"], existing) == [], panel["title"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_alerts_fire_when_they_should_according_to_promtool():
    subprocess.run(["promtool", "check", "rules", ALERTS], check=True)
    subprocess.run(
        ["promtool", "test", "rules", Path(__file__).with_name("alerts_test.yml")], check=True
    )
    subprocess.run(["promtool", "check", "config", ROOT / "ops" / "prometheus.yml"], check=True)


def test_the_age_of_the_last_sweep_is_known_also_if_there_was_none_yet(story, redis):
    assert values(scraped(story.engine))["last_sweep_age_seconds",] == math.inf
    assert ledger.start_if_due(story.engine, "sweep", "scheduler", 5, 20)
    story.execute("UPDATE service_lock SET since = now() - interval '70 s'")
    assert 70 <= values(scraped(story.engine))["last_sweep_age_seconds",] < 100
