"""Settings from the environment, and values that are refused."""

from pathlib import Path

import pytest

from mernet.worker.app import make_app
from mernet.worker.errors import SettingsError
from mernet.worker.settings import Settings, settings


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"MERNET_{name.upper()}", raising=False)
    monkeypatch.setattr("mernet.worker.settings.settings", settings.__wrapped__)


def test_without_settings_the_embedded_servers_of_the_data_folder_are_used(tmp_path: Path) -> None:
    config = Settings(data_dir=tmp_path)
    assert config.database == f"postgresql://postgres@/mernet?host={tmp_path}/postgres"
    assert config.broker == f"redis+socket://{tmp_path}/redis/redis.sock"


def test_a_set_url_replaces_the_embedded_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MERNET_DATABASE_URL", "postgresql://reader@db/mernet")
    monkeypatch.setenv("MERNET_BROKER_URL", "redis://:secret@queue:6379/0")
    config = Settings()
    assert config.database == "postgresql://reader@db/mernet"
    assert config.broker == "redis://:secret@queue:6379/0"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MERNET_CHUNK_SIZE", "0"),
        ("MERNET_CHUNK_SIZE", "many"),
        ("MERNET_DATABASE_URL", "mysql://db/mernet"),
        ("MERNET_DATABASE_URL", "postgresql://u:p@db:port/mernet"),
        ("MERNET_BROKER_URL", "amqp://queue"),
        ("MERNET_BROKER_URL", "redis://:a/b@queue:6379/0"),
        ("MERNET_BROKER_URL", "redis://queue:99999/0"),
        ("MERNET_BROKER_URL", "redis://queue:6379/first"),
        ("MERNET_BROKER_URL", "redis://user:p[secret@queue:6379/0"),
        ("MERNET_DATABASE_URL", "postgresql://user:secret\uff03@db/mernet"),
        ("MERNET_DATABASE_URL", "postgresql://user:[secret]@db/mernet"),
        ("MERNET_DATABASE_URL", "postgresql://db/mernet?password=sec@ret"),
        ("MERNET_DEVICE", "tpu"),
        ("MERNET_LOG_FORMAT", "xml"),
        ("MERNET_LOG_LEVEL", "LOUD"),
        ("MERNET_METRICS_PORT", "0"),
        ("MERNET_LEASE_SECONDS", "-1"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable) as refused:
        settings.__wrapped__()
    assert "secret" not in str(refused.value)


def test_a_misspelt_setting_is_named_with_what_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MERNET_CHUNKSIZE", "5")
    with pytest.raises(SettingsError, match=r"MERNET_CHUNKSIZE.*did you mean 'MERNET_CHUNK_SIZE'"):
        settings.__wrapped__()


def test_an_empty_setting_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MERNET_DATA_DIR", "")
    assert Settings().data_dir != Path.cwd()


def test_the_data_folder_is_made_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MERNET_DATA_DIR", "somewhere")
    assert Settings().data_dir == Path.cwd() / "somewhere"


def test_the_visibility_timeout_outlasts_every_task_wherever_celery_reads_it() -> None:
    config = Settings(chunk_time_limit=100, listing_time_limit=7000)
    conf = make_app(config).conf
    assert (
        conf.broker_transport_options["visibility_timeout"]
        == conf.result_backend_transport_options["visibility_timeout"]
        == conf.visibility_timeout
        > 7000
    )


def test_messages_are_json_and_acknowledged_only_when_done() -> None:
    conf = make_app(Settings()).conf
    assert conf.accept_content == ["json"]
    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost
    assert conf.worker_prefetch_multiplier == 1
    assert conf.task_ignore_result


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CHUNK_SIZE", "many", "MERNET_CHUNK_SIZE must be a whole number, not 'many'"),
        ("CHUNK_SIZE", "1.5", "MERNET_CHUNK_SIZE must be a whole number, not '1.5'"),
        ("CHUNK_SIZE", "0", "MERNET_CHUNK_SIZE must be greater than 0, not '0'"),
        ("CHUNK_SIZE", "99999", "MERNET_CHUNK_SIZE must be at most 10000, not '99999'"),
        ("SWEEP_SECONDS", "soon", "MERNET_SWEEP_SECONDS must be a number, not 'soon'"),
        ("METRICS_PORT", "70000", "MERNET_METRICS_PORT must be less than 65536, not '70000'"),
        ("DEVICE", "gpu", "MERNET_DEVICE must be 'auto', 'cpu' or 'cuda', not 'gpu'"),
        ("BROKER_URL", "http://a", "MERNET_BROKER_URL must begin with redis://"),
        ("FETCH_THREADS", "1000000", "MERNET_FETCH_THREADS must be at most 1000, not '1000000'"),
        ("CONNECTIONS_PER_HOST", "1e9", "MERNET_CONNECTIONS_PER_HOST must be "),
        ("DATA_DIR", "redis://host/0", "MERNET_DATA_DIR must be the path of a folder, not a URL"),
        ("REDIRECT_HOSTS", "a b,c", "must be names of hosts with spaces between, not 'b,c'"),
        ("REDIRECT_HOSTS", "http://a/", "must be names of hosts with spaces between"),
        ("DATA_DIR", " ", "MERNET_DATA_DIR holds nothing but blanks; remove it"),
        ("CONTACT", "   ", "MERNET_CONTACT holds nothing but blanks; remove it"),
        ("CHECKPOINT", "~nosuchuser/a", "MERNET_CHECKPOINT is not a path"),
    ],
)
def test_a_value_that_cannot_be_used_is_told_in_plain_words(monkeypatch, name, value, said):
    monkeypatch.setenv(f"MERNET_{name}", value)
    settings.cache_clear()
    with pytest.raises(SettingsError) as refused:
        settings()
    assert said in str(refused.value)
    assert "Input should" not in str(refused.value)


def test_a_tilde_in_a_path_is_the_home_folder(monkeypatch, tmp_path) -> None:
    (tmp_path / "secret").write_text("x\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MERNET_READER_PASSWORD_FILE", "~/secret")
    monkeypatch.setenv("MERNET_CHECKPOINT", "~/a.safetensors")
    config = settings.__wrapped__()
    assert config.secret("reader_password") == "x"
    assert config.checkpoint == tmp_path / "a.safetensors"


@pytest.mark.parametrize("hosts", ["a.example", "A.example  b-c.example", "10.0.0.1", "::1 a_b"])
def test_hosts_are_divided_by_spaces(monkeypatch, hosts) -> None:
    monkeypatch.setenv("MERNET_REDIRECT_HOSTS", hosts)
    assert settings.__wrapped__().redirect_hosts == tuple(hosts.split())


SETTINGS_OF_NUMBERS = ("LEASE_SECONDS", "CHUNK_SIZE", "FETCH_TIMEOUT", "MAX_IMAGE_BYTES")


@pytest.mark.parametrize("name", SETTINGS_OF_NUMBERS)
@pytest.mark.parametrize(
    "value", ["inf", "-inf", "nan", "-1", "0", "1e999", "9" * 30, "9" * 5000, "a" * 9000, "\x1b[2J"]
)
def test_an_absurd_number_is_refused_by_name_and_shortly(monkeypatch, name, value) -> None:
    monkeypatch.setenv(f"MERNET_{name}", value)
    settings.cache_clear()
    with pytest.raises(SettingsError, match=f"MERNET_{name}") as caught:
        settings()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", ["DATA_DIR", "DATABASE_PASSWORD_FILE", "METRICS_CERT_FILE"])
@pytest.mark.parametrize("value", ["~nosuchuser", "~nosuchuser/x", "a" * 4000, "a\nb", "a\udcff"])
def test_a_path_that_is_none_is_refused_by_name(monkeypatch, name, value) -> None:
    monkeypatch.setenv(f"MERNET_{name}", value)
    settings.cache_clear()
    with pytest.raises(SettingsError, match=f"MERNET_{name}") as caught:
        settings()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600
