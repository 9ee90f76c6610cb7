"""The sweep sends stalled work again, and leaves waiting work; what a message looks like."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mernet.db import ledger
from mernet.worker import broker as broker_module
from mernet.worker import sending
from mernet.worker.app import make_app
from mernet.worker.embedded import EmbeddedRedis
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


def test_a_chunk_that_was_never_sent_is_sent_and_then_left_alone(story, broker):
    story.listed(count=8, chunk_size=4)
    assert resend_stalled(story.engine, lease_seconds=600) == 2
    assert broker_module.count_waiting_chunk_messages() == 2
    assert resend_stalled(story.engine, lease_seconds=600) == 0
    assert broker_module.count_waiting_chunk_messages() == 2


def test_a_sweep_logs_what_it_sent_and_nothing_else(story, broker, caplog):
    caplog.set_level("INFO", logger="mernet.worker")
    resend_stalled(story.engine, lease_seconds=600)
    assert caplog.messages == []
    story.listed(count=8, chunk_size=4)
    resend_stalled(story.engine, lease_seconds=600)
    assert caplog.messages == ["2 messages sent again"]


def test_a_listing_that_was_never_sent_is_sent(story, broker):
    ledger.create_run(story.engine, ledger.NewRun(archives=("sample",)))
    assert resend_stalled(story.engine, lease_seconds=600) == 1


def test_chunks_wait_their_turn_while_there_are_messages(story, broker):
    run_id = story.listed(count=8, chunk_size=4)
    sending.send_chunks(story.engine, run_id, [1])
    resend_stalled(story.engine, lease_seconds=0)
    assert broker_module.count_waiting_chunk_messages() == 1


def test_a_chunk_without_heartbeats_is_sent_again(story, broker):
    run_id = story.listed(count=4, chunk_size=4)
    ledger.mark_sent(story.engine, run_id, [1])
    story.claim(run_id, 1)
    resend_stalled(story.engine, lease_seconds=600)
    assert broker_module.count_waiting_chunk_messages() == 0
    resend_stalled(story.engine, lease_seconds=0)
    assert broker_module.count_waiting_chunk_messages() == 1


def test_of_two_sweeps_at_once_one_does_the_work(story, broker):
    story.listed(count=4, chunk_size=4)
    with ledger.exclusive(story.engine, "sweep"):
        assert resend_stalled(story.engine, lease_seconds=600) == 0
    assert broker_module.count_waiting_chunk_messages() == 0


def test_a_message_s_id_and_arguments_name_its_run_and_chunk_for_flower(story, broker):
    run_id = story.listed(count=4, chunk_size=4)
    sending.send_chunks(story.engine, run_id, [1])
    with sending.app.connection_for_read() as connection, connection.channel() as channel:
        headers = json.loads(channel.client.lindex("classify", 0))["headers"]
    assert (headers["task"], headers["argsrepr"]) == ("mernet.classify_chunk", "run 1 chunk 1")
    assert headers["id"].startswith("run-1-chunk-1-")
