"""The oldest supported server: logins of the service and of a reader, over TLS."""

import pytest
import sqlalchemy as sa

from fixtures.encryption import PASSWORD
from mernet.db import migrate
from mernet.db.engine import connect
from mernet.db.reader_logins import create_reader
from mernet.db.server_rights import OWNER, WORKER, create_service_logins, left_open
from mernet.worker.server_urls import with_password

READER = "atlas"


@pytest.fixture(scope="module")
def server(encrypted_postgres):
    """A Postgres 15 of the service's own, set up as docker-compose.yml does."""
    admin = connect(with_password(encrypted_postgres, PASSWORD))
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("CREATE DATABASE mernet")
    superuser = connect(admin.url.set(database="mernet").render_as_string(hide_password=False))
    create_service_logins(superuser, "owner", "worker")
    migrate.upgrade(as_login(superuser, OWNER, "owner"))
    create_reader(superuser, READER, "reader")
    yield superuser
    superuser.dispose()
    admin.dispose()


def as_login(superuser: sa.Engine, name: str, password: str, **url: str) -> sa.Engine:
    changed = superuser.url.set(username=name, password=password, **url)
    return connect(changed.render_as_string(hide_password=False))


def refused(engine: sa.Engine, statement: str) -> None:
    with (
        pytest.raises(sa.exc.ProgrammingError, match=r"permission denied|must be"),
        engine.connect() as connection,
    ):
        connection.exec_driver_sql(statement)
    engine.dispose()


def test_the_server_is_the_oldest_supported_one(server):
    with server.connect() as connection:
        assert connection.exec_driver_sql("SHOW server_version").scalar().startswith("15.")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT pg_advisory_lock(1)",
        "SELECT * FROM shown_classification",
        "SELECT lo_create(0)",
        "CREATE TEMPORARY TABLE mine (n int)",
        "CREATE TABLE mine (n int)",
        "SELECT pg_logical_emit_message(false, 'x', 'y')",
    ],
)
def test_an_attack_of_a_reader_is_refused(server, statement):
    refused(as_login(server, READER, "reader"), statement)


def test_a_reader_reads_the_view_within_its_limits(server):
    with as_login(server, READER, "reader").connect() as connection:
        assert connection.exec_driver_sql("SELECT * FROM atlas_search").all() == []
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "30s"
        assert connection.exec_driver_sql("SHOW temp_file_limit").scalar() == "1GB"
    assert left_open(server, READER) == []


def test_other_databases_are_closed_to_readers_and_workers(server):
    for name, password in ((READER, "reader"), (WORKER, "worker")):
        for database in ("postgres", "template1"):
            with pytest.raises(Exception, match="permission denied for database"):
                as_login(server, name, password, database=database)


def test_the_workers_login_changes_rows_only(server):
    worker = as_login(server, WORKER, "worker")
    migrate.check_current(worker)
    with worker.begin() as connection:
        connection.exec_driver_sql("CREATE TEMPORARY TABLE listed (LIKE product) ON COMMIT DROP")
        connection.exec_driver_sql("DELETE FROM listing_state")
    for statement in (
        "DROP TABLE run",
        "CREATE TABLE mine (n int)",
        "DELETE FROM run_product",
        "SELECT pg_try_advisory_lock(1)",
    ):
        refused(worker, statement)


def test_the_owner_can_upgrade_again_and_is_no_superuser(server):
    owner = as_login(server, OWNER, "owner")
    migrate.upgrade(owner)
    refused(owner, "CREATE ROLE mine")
    refused(owner, "COPY (SELECT 1) TO PROGRAM 'true'")
