"""Time limits of tasks, and the settings of the ingest."""

import pytest

from mernet.worker.app import time_limits
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
