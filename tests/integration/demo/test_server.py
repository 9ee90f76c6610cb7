"""The HTTP server of the sample archive."""

from pathlib import Path

import pytest
import requests

from mernet.demo.server import serve


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "1p.img").write_bytes(bytes(range(256)) * 40)
    return tmp_path


def test_it_serves_files_with_their_length(folder: Path) -> None:
    with serve(folder) as url:
        answer = requests.get(f"{url}data/1p.img", timeout=5)
    assert answer.status_code == 200
    assert answer.headers["Content-Length"] == "10240"
    assert answer.content == bytes(range(256)) * 40


def test_what_is_missing_is_a_404(folder: Path) -> None:
    with serve(folder) as url:
        assert requests.get(f"{url}data/2p.img", timeout=5).status_code == 404


def test_a_connection_serves_many_requests(folder: Path) -> None:
    with serve(folder) as url, requests.Session() as session:
        first = session.get(f"{url}data/1p.img", timeout=5)
        missing = session.get(f"{url}nothing", timeout=5)
        second = session.get(f"{url}data/1p.img", timeout=5)
    assert [answer.status_code for answer in (first, missing, second)] == [200, 404, 200]
    assert all(answer.raw.version == 11 for answer in (first, second))
    assert all("close" not in answer.headers.get("Connection", "") for answer in (first, second))


def test_nothing_outside_the_folder_is_served(folder: Path) -> None:
    (folder.parent / "secret.txt").write_text("not for you")
    with serve(folder) as url:
        request = requests.Request("GET", url).prepare()
        request.url = f"{url}../secret.txt"
        with requests.Session() as session:
            assert session.send(request, timeout=5).status_code == 404


def test_after_the_context_the_port_is_closed(folder: Path) -> None:
    with serve(folder) as url:
        pass
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)


def test_a_missing_folder_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), serve(tmp_path / "nowhere"):
        pass
