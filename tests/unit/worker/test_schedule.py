"""What the scheduler sends, and the settings for it."""

import pytest

from mernet.worker.app import schedule, time_limits
from mernet.worker.errors import SettingsError
from mernet.worker.settings import Settings, settings


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch):
    """The settings of an environment with these variables and no others of ours."""

    def config(**variables: str) -> Settings:
        for name in Settings.model_fields:
            monkeypatch.delenv(f"MERNET_{name.upper()}", raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return settings.__wrapped__()

    return config


def test_without_a_setting_only_the_sweep_is_sent(config):
    assert set(schedule(config())) == {"sweep"}


def test_the_ingest_is_sent_at_the_interval_that_is_set(config):
    table = schedule(config(MERNET_INGEST_SECONDS="86400"))
    assert table["ingest"] == {
        "task": "mernet.ingest",
        "schedule": 86400,
        "options": {"expires": 86400},
    }


def test_every_scheduled_task_exists(config):
    from mernet.worker.tasks import app

    table = schedule(config(MERNET_INGEST_SECONDS="60"))
    assert {entry["task"] for entry in table.values()} <= set(app.tasks)


def test_every_task_that_does_something_has_a_time_limit():
    from mernet.worker.tasks import app

    limits = {name: task.time_limit for name, task in app.tasks.items() if "mernet" in name}
    assert limits == {**time_limits(settings()), "mernet.probe": None}


def test_the_archives_of_the_ingest_are_separated_by_spaces(config):
    assert config().ingest_archives == ("opportunity", "spirit")
    assert config(MERNET_INGEST_ARCHIVES="spirit  https://example.org/v/").ingest_archives == (
        "spirit",
        "https://example.org/v/",
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MERNET_INGEST_SECONDS", "0"),
        ("MERNET_INGEST_SECONDS", "daily"),
        ("MERNET_INGEST_PRODUCTS", "all"),
        ("MERNET_INGEST_ARCHIVES", " "),
    ],
)
def test_an_ingest_setting_that_cannot_be_used_is_named(config, variable, value):
    with pytest.raises(SettingsError, match=variable):
        config(**{variable: value})
