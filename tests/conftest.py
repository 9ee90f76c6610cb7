"""What all tests share: markers by folder, real files, fresh databases. More is in fixtures/."""

import os
import signal
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

ROOT = Path(__file__).resolve().parent.parent
pytest_plugins = [
    f"fixtures.{name}" for name in ("encryption", "ledger", "registry", "service", "hosts")
]
FOLDER_MARKERS = ("unit", "integration", "acceptance", "faults")


@pytest.fixture(autouse=True)
def ctrl_c_raises_an_error() -> None:
    """Ctrl-C raises KeyboardInterrupt, whatever a shell or an earlier test left.

    A shell lets programs in the background ignore it; a command that ran in the test process ends
    the process on it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the name of its folder."""
    for item in items:
        folder = item.path.relative_to(ROOT / "tests").parts[0]
        if folder in FOLDER_MARKERS:
            item.add_marker(folder)


@pytest.fixture(scope="session")
def real_files() -> Path:
    """The folder of real archive files; a test that wants them is skipped where it is missing."""
    folder = Path(os.environ.get("MERNET_REAL_FILES", ROOT.parent / "shared" / "real"))
    if not (folder / "expected.json").is_file():
        pytest.skip(
            f"real archive files are not at {folder}; set MERNET_REAL_FILES to run this test"
        )
    return folder


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a database on an embedded Postgres server."""
    from mernet.worker.embedded import EmbeddedPostgres

    # The paths of pytest's own folders are too long for Unix sockets.
    with tempfile.TemporaryDirectory(prefix="mernet-", ignore_cleanup_errors=True) as folder:
        server = EmbeddedPostgres(Path(folder))
        url = sa.make_url(server.start()).set(drivername="postgresql+psycopg2")
        yield url.render_as_string(hide_password=False)
        server.stop()


@pytest.fixture
def database_url(postgres_server: str) -> Iterator[str]:
    """URL of an empty database of the test's own, dropped afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    admin = sa.create_engine(postgres_server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    yield sa.make_url(postgres_server).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(sa.text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    admin.dispose()
