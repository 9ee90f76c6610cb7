"""Passwords: from files, put into URLs, shown nowhere."""

import re
from pathlib import Path

import pytest
import sqlalchemy as sa

from mernet.db.engine import connect
from mernet.db.errors import ConnectionFailed
from mernet.db.server_rights import Login
from mernet.worker.errors import SettingsError
from mernet.worker.server_urls import with_parameters, with_password
from mernet.worker.settings import Settings, settings

ODD = "p@ss:w/rd%?#[ä"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{ODD}\n")
    return path


@pytest.fixture
def environment(monkeypatch):
    """Set variables, then read the settings as a process does."""

    def read(**variables: object) -> Settings:
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        return settings.__wrapped__()

    return read


def test_a_password_of_any_characters_comes_from_a_file(environment, file):
    config = environment(
        MERNET_DATABASE_URL="postgresql://worker@db:5433/mernet",
        MERNET_DATABASE_PASSWORD_FILE=file,
        MERNET_BROKER_URL="redis://queue:6380/3",
        MERNET_BROKER_PASSWORD_FILE=file,
    )
    url = sa.make_url(config.database)
    assert (url.username, url.password, url.host, url.port) == ("worker", ODD, "db", 5433)
    from kombu.utils.url import url_to_parts

    assert url_to_parts(config.broker)[1:6] == ("queue", 6380, None, ODD, "3")


def test_a_password_may_be_a_variable_of_its_own(environment):
    config = environment(
        MERNET_DATABASE_URL="postgresql://worker@db/mernet", MERNET_DATABASE_PASSWORD=ODD
    )
    assert sa.make_url(config.database).password == ODD


def test_neither_the_settings_nor_what_they_hold_show_a_password(environment, file):
    config = environment(
        MERNET_DATABASE_URL="postgresql://worker:sesame@db/mernet",
        MERNET_BROKER_URL="redis://:sesame@queue/0",
        MERNET_READER_PASSWORD="sesame",
    )
    assert "sesame" not in repr(config) + str(config)
    assert "sesame" not in repr(Login("worker", "sesame"))


MALFORMED = {
    "an @": ("DATABASE", "postgresql://worker:se@same@db/mernet"),
    "a slash": ("DATABASE", "postgresql://worker:se/same@db/mernet"),
    "a slash behind digits": ("DATABASE", "postgresql://worker:12/same@db/mernet"),
    "a question mark": ("DATABASE", "postgresql://worker:12?same@db/mernet"),
    "a bracket": ("DATABASE", "postgresql://worker:[same@db/mernet"),
    "no scheme": ("DATABASE", "worker:same@db/mernet"),
    "redis, a slash": ("BROKER", "redis://:se/same@queue/0"),
    "redis, a slash behind digits": ("BROKER", "redis://:12/same@queue/0"),
    "redis, a question mark": ("BROKER", "redis://:12?same@queue/0"),
    "redis, no scheme": ("BROKER", ":same@queue/0"),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_url_is_named_by_its_setting_without_the_password(environment, kind):
    server, url = MALFORMED[kind]
    with pytest.raises(SettingsError, match=f"MERNET_{server}_URL") as told:
        environment(**{f"MERNET_{server}_URL": url})
    assert "same" not in str(told.value)
    assert told.value.__cause__ is None  # whose text quotes the value
    assert told.value.__suppress_context__


@pytest.mark.parametrize("url", [url for server, url in MALFORMED.values() if server == "DATABASE"])
def test_a_malformed_url_given_in_python_is_refused_without_the_password(url):
    with pytest.raises(ConnectionFailed) as told:
        connect(url)
    assert "same" not in str(told.value)
    assert told.value.__cause__ is None or "same" not in str(told.value.__cause__)


def test_a_password_and_its_file_are_not_both_accepted(environment, file):
    with pytest.raises(SettingsError, match="MERNET_DATABASE_PASSWORD and its _FILE"):
        environment(MERNET_DATABASE_PASSWORD="x", MERNET_DATABASE_PASSWORD_FILE=file)


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines", b"x" * 5000, b"\xff\xfe", b"a\0b"])
def test_a_file_that_holds_no_password_is_named(environment, tmp_path, content):
    path = tmp_path / "broken"
    path.write_bytes(content)
    config = environment(
        MERNET_DATABASE_URL="postgresql://db/mernet", MERNET_DATABASE_PASSWORD_FILE=path
    )
    with pytest.raises(SettingsError, match=re.escape(str(path))):
        _ = config.database


@pytest.mark.parametrize("missing", ["nowhere", "."])
def test_a_missing_file_is_named_with_its_setting(environment, tmp_path, missing):
    with pytest.raises(SettingsError, match="MERNET_BROKER_PASSWORD_FILE"):
        environment(MERNET_BROKER_PASSWORD_FILE=tmp_path / missing)


def test_a_certificate_of_the_metrics_needs_its_key(environment, file):
    with pytest.raises(SettingsError, match="MERNET_METRICS_KEY_FILE"):
        environment(MERNET_METRICS_CERT_FILE=file)


def test_a_password_replaces_that_of_a_url_and_other_parts_stay():
    url = "postgresql://user:old@[::1]:5432/name?sslmode=require"
    assert with_password(url, "new") == url.replace("old", "new")
    assert with_password(url, None) == url
    assert with_parameters(url, {"sslmode": "verify-full"}).endswith("?sslmode=verify-full")
    assert with_parameters(url, {"sslmode": None}) == url
