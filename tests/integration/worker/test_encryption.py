"""Connections over TLS: to Postgres, to Redis, and to the metrics."""

import subprocess
import sys
from pathlib import Path

import pytest
import requests
import sqlalchemy as sa
from kombu.exceptions import OperationalError

from fixtures.encryption import PASSWORD, encrypted, free_port
from mernet.db.engine import connect
from mernet.db.errors import ConnectionFailed
from mernet.worker.app import make_app
from mernet.worker.embedded import EmbeddedRedis
from mernet.worker.errors import WorkerError
from mernet.worker.metrics_server import serve_metrics
from mernet.worker.settings import Settings


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    return path


def database(url: str, secret: Path, ca: Path | None, mode: str) -> str:
    return Settings(
        database_url=url, database_password_file=secret, database_ca_file=ca, database_sslmode=mode
    ).database


def test_postgres_is_checked_against_the_authority(encrypted_postgres, authority, secret):
    engine = connect(database(encrypted_postgres, secret, authority.ca, "verify-full"))
    with engine.connect() as connection:
        used = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        assert connection.scalar(sa.text(used)) is True
    engine.dispose()


def test_a_postgres_of_another_authority_is_refused(encrypted_postgres, stranger, secret):
    with pytest.raises(ConnectionFailed, match="certificate verify failed") as told:
        connect(database(encrypted_postgres, secret, stranger.ca, "verify-full"))
    assert PASSWORD not in str(told.value)


def test_a_postgres_that_wants_encryption_refuses_plain_connections(encrypted_postgres, secret):
    with pytest.raises(ConnectionFailed, match="no encryption"):
        connect(database(encrypted_postgres, secret, None, "disable"))


@pytest.fixture
def redis_port(tmp_path: Path, authority):
    """An embedded Redis behind a proxy for TLS, since its own build has none."""
    server = EmbeddedRedis(tmp_path)
    server.start()
    with encrypted(str(server.socket), authority) as port:
        yield port
    server.stop()


def ask(port: int, ca: Path | None) -> None:
    app = make_app(Settings(broker_url=f"rediss://localhost:{port}/0", broker_ca_file=ca))
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=0, timeout=5)
        with connection.channel() as channel:
            assert channel.client.ping()


def test_redis_is_checked_against_the_authority(redis_port, authority):
    ask(redis_port, authority.ca)


@pytest.mark.parametrize("known", ["another authority", "those of the system"])
def test_a_redis_of_another_authority_is_refused(redis_port, stranger, known):
    with pytest.raises(OperationalError, match="certificate verify failed"):
        ask(redis_port, stranger.ca if known == "another authority" else None)


METRICS = """
import sys
from pathlib import Path
from mernet.worker.metrics_server import serve_metrics

port, certificate, key = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
with serve_metrics("127.0.0.1", port, certificate, key):
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_metrics_are_served_over_https(authority, stranger):
    port = free_port()
    command = [sys.executable, "-c", METRICS, str(port), authority.certificate, authority.key]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout.readline() == "ready\n"
        address = f"https://localhost:{port}/metrics"
        assert requests.get(address, verify=str(authority.ca), timeout=30).status_code == 200
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(address, verify=str(stranger.ca), timeout=30)
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(address.replace("https", "http"), timeout=30)
        run.stdin.close()


def test_a_key_that_does_not_fit_is_named_with_its_settings(authority, stranger, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    with (
        pytest.raises(WorkerError, match="MERNET_METRICS_CERT_FILE"),
        serve_metrics("127.0.0.1", free_port(), authority.certificate, stranger.key),
    ):
        pass
