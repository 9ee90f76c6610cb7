"""The sweep sends stalled work again, and leaves waiting work; what a message looks like."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from fixtures.ledger import make_product
from mernet.db import ledger, obstacles
from mernet.db.obstacles import ObstacleKind, Patience
from mernet.worker import broker as broker_module
from mernet.worker import sending
from mernet.worker.app import QueueName, make_app
from mernet.worker.embedded import EmbeddedRedis
from mernet.worker.errors import BrokerError
from mernet.worker.settings import Settings
from mernet.worker.sweep import resend_stalled


@pytest.fixture
def broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path)
    server.start()
    app = make_app(Settings(broker_url=server.url))
    for module in (sending, broker_module):
        monkeypatch.setattr(module, "app", app)
    yield server
    server.stop()


def waiting() -> frozenset[str]:
    return broker_module.waiting_subjects()


def queue_order(broker: EmbeddedRedis) -> list[str]:
    """What the messages of the queue classify are about, the next to be received first."""
    messages = Redis(unix_socket_path=str(broker.socket)).lrange("classify", 0, -1)
    return [json.loads(each)["headers"]["argsrepr"] for each in reversed(messages)]


def test_whether_a_queue_has_a_message_is_known_and_not_while_the_broker_is_away(story, broker):
    run_id = ledger.create_run(story.engine, ledger.NewRun(archives=("sample",))).run_id
    assert not broker_module.is_waiting(QueueName.LISTING)
    sending.send_listing(story.engine, run_id)
    assert broker_module.is_waiting(QueueName.LISTING)
    assert not broker_module.is_waiting(QueueName.CLASSIFY)
    broker.stop()
    assert not broker_module.is_waiting(QueueName.LISTING)


def test_a_chunk_that_was_never_sent_is_sent_and_then_left_alone(story, broker):
    story.listed(count=8, chunk_size=4)
    assert resend_stalled(story.engine, lease_seconds=600) == 2
    assert waiting() == {"run 1 chunk 1", "run 1 chunk 2"}
    assert resend_stalled(story.engine, lease_seconds=600) == 0
    assert waiting() == {"run 1 chunk 1", "run 1 chunk 2"}


OF_HOSTS = [ObstacleKind.CHECKPOINT, ObstacleKind.DEVICE, ObstacleKind.MACHINE]


@pytest.mark.parametrize("kind", OF_HOSTS)
def test_an_obstacle_of_a_host_whose_workers_are_gone_is_cleared(story, broker, caplog, kind):
    caplog.set_level("INFO", logger="mernet.worker")
    run_id = story.listed(count=4)
    story.meet(run_id, kind, "of a host")
    resend_stalled(story.engine, lease_seconds=600)
    [found] = obstacles.current(story.engine)
    assert found.run_ids == (run_id,)
    met_before(story, minutes=6)
    resend_stalled(story.engine, lease_seconds=600)
    assert obstacles.current(story.engine) == []
    assert "nothing waits for it any more" in caplog.text


@pytest.mark.parametrize("kind", OF_HOSTS)
def test_an_obstacle_of_a_host_is_cleared_when_the_runs_that_waited_have_ended(story, broker, kind):
    run_id = story.listed(count=4)
    story.meet(run_id, kind, "of a host")
    story.publish(run_id, 1)
    resend_stalled(story.engine, lease_seconds=600)
    assert rows_of_obstacles(story) == [(kind,)], "another run may meet it before its next try"
    met_before(story, minutes=1)
    resend_stalled(story.engine, lease_seconds=600)
    assert rows_of_obstacles(story) == []
    assert story.rows("SELECT run_id FROM run_obstacle") == []


@pytest.mark.parametrize("kind", OF_HOSTS)
def test_an_obstacle_of_a_host_that_an_open_run_or_the_ingest_waits_for_stays(story, broker, kind):
    run_id = story.listed(count=4)
    story.meet(run_id, kind, "of a run")
    obstacles.report(story.engine, kind, "of the ingest", "broken", Patience(10, 10))
    obstacles.let_ingest_wait(story.engine, [(kind, "of the ingest")])
    met_before(story, minutes=1)
    resend_stalled(story.engine, lease_seconds=600)
    assert rows_of_obstacles(story) == [(kind,), (kind,)]


def rows_of_obstacles(story):
    return story.rows("SELECT kind FROM obstacle WHERE cleared_at IS NULL")


@pytest.mark.parametrize("kind", [ObstacleKind.ARCHIVE_HOST, ObstacleKind.DATABASE])
def test_an_obstacle_that_any_worker_may_meet_stays_until_one_finds_it_gone(story, broker, kind):
    run_id = story.listed(count=4)
    story.meet(run_id, kind, "shared by all")
    met_before(story, minutes=60)
    resend_stalled(story.engine, lease_seconds=600)
    [found] = obstacles.current(story.engine)
    assert found.run_ids == (run_id,)


def met_before(story, minutes):
    story.execute(
        "UPDATE obstacle SET since = since - step, last_seen_at = last_seen_at - step,"
        " next_try_at = next_try_at - step FROM make_interval(mins => :minutes) AS step",
        minutes=minutes,
    )


def test_a_sweep_logs_what_it_sent_and_nothing_else(story, broker, caplog):
    caplog.set_level("INFO", logger="mernet.worker")
    resend_stalled(story.engine, lease_seconds=600)
    assert caplog.messages == []
    story.listed(count=8, chunk_size=4)
    resend_stalled(story.engine, lease_seconds=600)
    assert caplog.messages == ["2 messages sent that were missing"]


def test_a_listing_that_was_never_sent_is_sent(story, broker):
    ledger.create_run(story.engine, ledger.NewRun(archives=("sample",)))
    assert resend_stalled(story.engine, lease_seconds=600) == 1


def test_a_message_that_waits_for_long_is_not_sent_again(story, broker):
    run_id = story.listed(count=8, chunk_size=4)
    sending.send_chunks(story.engine, run_id)
    story.execute("UPDATE chunk SET sent_at = now() - interval '1 day'")
    assert resend_stalled(story.engine, lease_seconds=600) == 0


def test_a_lost_message_is_sent_again_even_if_others_wait(story, broker):
    big, small = story.listed(count=8, chunk_size=1), story.listed(count=8, chunk_size=8)
    sending.send_chunks(story.engine, big)
    story.execute("UPDATE chunk SET sent_at = now() - interval '1 day' WHERE run_id = 2")
    assert resend_stalled(story.engine, lease_seconds=600) == 1
    assert f"run {small} chunk 1" in waiting()


def test_a_chunk_without_heartbeats_is_sent_again(story, broker):
    run_id = story.listed(count=4, chunk_size=4)
    ledger.take_unsent(story.engine, run_id, 1)
    story.claim(run_id, 1)
    assert resend_stalled(story.engine, lease_seconds=600) == 0
    story.lose_claims()
    story.execute("UPDATE chunk SET sent_at = last_heartbeat_at - interval '1 second'")
    assert resend_stalled(story.engine, lease_seconds=600) == 1


def test_few_messages_of_a_large_run_wait_and_a_small_run_is_behind_these_only(story, broker):
    large = story.listed(count=100, chunk_size=1)
    resend_stalled(story.engine, lease_seconds=600)
    small = story.listed_products([make_product(clock) for clock in range(200, 202)], chunk_size=1)
    resend_stalled(story.engine, lease_seconds=600)
    assert len(waiting()) == sending.MOST_WAITING + 2
    story.claim(large, 1)
    sending.send_chunks(story.engine, large)
    assert f"run {large} chunk {sending.MOST_WAITING + 1}" in waiting()
    assert queue_order(broker).index(f"run {small} chunk 2") == sending.MOST_WAITING + 1


def test_what_the_broker_does_not_take_is_sent_by_a_later_sweep(story, broker):
    story.listed(count=8, chunk_size=4)
    broker.stop()
    with pytest.raises(BrokerError):
        resend_stalled(story.engine, lease_seconds=600)
    broker.start()
    assert resend_stalled(story.engine, lease_seconds=600) == 2


def test_a_broker_without_memory_is_an_error_of_ours_and_loses_nothing(story, broker):
    story.listed(count=8, chunk_size=4)
    redis = Redis(unix_socket_path=str(broker.socket))
    redis.config_set("maxmemory", 1)
    with pytest.raises(BrokerError, match="maxmemory"):
        resend_stalled(story.engine, lease_seconds=600)
    redis.config_set("maxmemory", 0)
    assert resend_stalled(story.engine, lease_seconds=600) == 2


def test_a_message_s_id_and_arguments_name_its_run_and_chunk_for_flower(story, broker):
    run_id = story.listed(count=4, chunk_size=4)
    sending.send_chunks(story.engine, run_id)
    with sending.app.connection_for_read() as connection, connection.channel() as channel:
        headers = json.loads(channel.client.lindex("classify", 0))["headers"]
    assert (headers["task"], headers["argsrepr"]) == ("mernet.classify_chunk", "run 1 chunk 1")
    assert headers["id"].startswith("run-1-chunk-1-")


def test_no_message_expires_since_a_healthy_log_would_tell_of_discarded_tasks(story, broker):
    run_id = story.listed(count=4, chunk_size=4)
    sending.send_listing(story.engine, run_id)
    sending.send_chunks(story.engine, run_id)
    with sending.app.connection_for_read() as connection, connection.channel() as channel:
        for queue in ("listing", "classify"):
            message = json.loads(channel.client.lindex(queue, 0))
            assert message["headers"]["expires"] is None
