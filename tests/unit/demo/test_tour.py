"""The tour's archive is served where its published URLs lead."""

import socket
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from mernet.demo import tour
from mernet.demo.errors import DemoError


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    return folder


@pytest.fixture
def taken(monkeypatch):
    """A port that another program uses, in place of the demo's usual one."""
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        monkeypatch.setattr(tour, "PORT", other.getsockname()[1])
        yield other


def served_at(archive) -> int:
    with tour._serve_at_its_port(archive) as url:
        return urlsplit(url).port


def test_the_archive_keeps_the_port_at_which_it_was_first_served(archive, taken):
    first = served_at(archive)
    assert first != tour.PORT
    taken.close()
    assert served_at(archive) == first


def test_where_its_port_is_in_use_it_is_not_served_at_another(archive, taken):
    port = served_at(archive)
    with (
        closing(socket.create_server(("127.0.0.1", port))),
        pytest.raises(DemoError, match=f"Port {port} is in use, but the published URLs"),
    ):
        served_at(archive)
