"""`mernet db reader`: where the password comes from."""

import pytest
from typer.testing import CliRunner

from mernet.cli.commands import app
from mernet.worker.errors import SettingsError
from mernet.worker.settings import Settings

READER = "test_command_reader"


@pytest.fixture
def mernet(story, monkeypatch):
    """`mernet db`, with or without a password in the environment."""
    monkeypatch.setattr("mernet.cli.service.database.ledger", lambda: story.engine)

    def run(*words: str, password: str | None):
        config = Settings(reader_password=password)
        monkeypatch.setattr("mernet.cli.service.database.settings", lambda: config)
        return CliRunner().invoke(app, ["db", *words])

    yield run
    if story.rows(f"SELECT FROM pg_roles WHERE rolname = '{READER}'"):
        story.execute(f"DROP OWNED BY {READER}; DROP ROLE {READER}")


def can_log_in(story) -> bool:
    return bool(story.rows("SELECT FROM pg_roles WHERE rolcanlogin AND rolname = :r", r=READER))


def test_a_reader_is_made_with_the_password_of_the_settings_and_then_changed(mernet, story):
    ran = mernet("reader", READER, password="secret")
    assert (ran.exit_code, ran.stderr) == (0, f"{READER} may read atlas_search.\n")
    assert can_log_in(story)
    assert "has a new password" in mernet("reader", READER, password="other").stderr


def test_without_a_password_and_a_terminal_no_reader_is_made(mernet, story):
    ran = mernet("reader", READER, password=None)
    assert isinstance(ran.exception, SettingsError)
    assert "Set MERNET_READER_PASSWORD" in str(ran.exception)
    assert not can_log_in(story)


def test_the_password_is_shown_nowhere(mernet):
    assert "secret" not in str(Settings(reader_password="secret"))
    assert "secret" not in mernet("reader", READER, password="secret").output


def test_the_logins_of_the_service_need_both_passwords(mernet):
    ran = mernet("logins", password=None)
    assert isinstance(ran.exception, SettingsError)
    assert "MERNET_OWNER_PASSWORD_FILE and MERNET_WORKER_PASSWORD_FILE" in str(ran.exception)


def test_rights_that_a_reader_keeps_are_told(mernet, story):
    name = story.engine.url.database
    mernet("reader", READER, password="secret")
    story.execute(f"GRANT TEMPORARY ON DATABASE {name} TO PUBLIC")
    alone = story.engine.execution_options(isolation_level="AUTOCOMMIT")
    with alone.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {READER}")
    try:
        said = mernet("reader", READER, password="secret").stderr
        assert f"connect to the databases {READER}" in said
        assert "temporary tables" not in said  # which this login could forbid, and did
    finally:
        story.execute(f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC")
        with alone.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {READER}")
