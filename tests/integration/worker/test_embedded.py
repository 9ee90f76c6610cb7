"""The embedded servers: started once, found again, stopped without loss of data."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa

from mernet.db.engine import connect
from mernet.worker.embedded import EmbeddedPostgres, EmbeddedRedis, embedded_servers
from mernet.worker.errors import ServiceError
from mernet.worker.settings import Settings


@pytest.fixture
def postgres() -> Iterator[EmbeddedPostgres]:
    # Started by root, the server runs as another user, and pytest closes its own folders to others.
    with tempfile.TemporaryDirectory(prefix="mernet-", ignore_cleanup_errors=True) as folder:
        server = EmbeddedPostgres(Path(folder))
        yield server
        server.stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path)
    yield server
    server.stop()


def test_postgres_has_its_data_after_a_restart(postgres: EmbeddedPostgres) -> None:
    assert not postgres.status().running
    engine = connect(postgres.start())
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE saved AS SELECT 42 AS value"))
    engine.dispose()
    assert postgres.status().running
    postgres.stop()
    assert not postgres.status().running
    with connect(postgres.start()).connect() as connection:
        assert connection.scalar(sa.text("SELECT value FROM saved")) == 42


def test_starting_twice_finds_the_running_server(broker: EmbeddedRedis) -> None:
    broker.start()
    client = redis.Redis(unix_socket_path=str(broker.socket))
    before = client.info("server")["process_id"]
    assert EmbeddedRedis(broker.data.parent).start() == broker.url
    assert client.info("server")["process_id"] == before


def test_redis_has_its_queue_after_a_restart(broker: EmbeddedRedis) -> None:
    broker.start()
    redis.Redis(unix_socket_path=str(broker.socket)).rpush("classify", "message")
    broker.stop()
    assert not broker.status().running
    broker.start()
    assert redis.Redis(unix_socket_path=str(broker.socket)).llen("classify") == 1


def test_a_folder_too_deep_for_a_unix_socket_is_refused_with_advice(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    for server in (EmbeddedPostgres(deep), EmbeddedRedis(deep)):
        with pytest.raises(ServiceError, match="MERNET_DATA_DIR"):
            server.start()


def test_stopping_a_stopped_server_does_nothing(tmp_path: Path) -> None:
    for server in embedded_servers(Settings(data_dir=tmp_path)):
        server.stop()
        assert not server.status().running


def test_a_server_with_a_url_in_the_settings_is_not_embedded(tmp_path: Path) -> None:
    config = Settings(data_dir=tmp_path, database_url="postgresql://db/mernet")
    assert [service.status().name for service in embedded_servers(config)] == ["redis"]
