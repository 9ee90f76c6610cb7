"""Connecting, and transactions that are retried."""

import pytest
import sqlalchemy as sa
from tenacity import wait_none

import mernet.db.engine
from mernet.db.engine import connect, is_server_fault, transaction, why_not_writable
from mernet.db.errors import ConnectionFailed


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "cannot be read"),
        ("mysql://localhost/x", "has to be postgresql://"),
        ("postgresql://someone:secret@/x?host=/nowhere", "No database at .*start the server"),
        ("postgresql://someone@/x?host=/nowhere&password=secret", "No database at .*start the"),
        ("postgresql://someone@/x?host=/nowhere&sslpassword=secret", "No database at .*start the"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_in_one_sentence_without_the_password(url, message):
    with pytest.raises(ConnectionFailed, match=message) as caught:
        connect(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_every_usual_way_to_write_a_postgres_url_is_read(database_url, scheme):
    rest = database_url.partition("://")[2]
    engine = connect(f"{scheme}://{rest}")
    assert engine.dialect.driver == "psycopg2"
    engine.dispose()


def raise_sqlstate(connection: sa.Connection, code: str) -> None:
    connection.exec_driver_sql(f"DO $$ BEGIN RAISE SQLSTATE '{code}'; END $$")


@pytest.mark.parametrize("code", ["40P01", "40001", "25006", "53100", "53400", "57P02"])
def test_work_is_repeated_after_a_fault_of_the_server_that_may_pass(empty_engine, code):
    attempts = []

    @transaction
    def work(connection: sa.Connection) -> str:
        attempts.append(code)
        if len(attempts) < 3:
            raise_sqlstate(connection, code)
        return "done"

    assert work(empty_engine) == "done"
    assert len(attempts) == 3


def test_work_is_repeated_on_a_new_connection_when_the_server_ends_the_old_one(empty_engine):
    attempts = []

    @transaction
    def work(connection: sa.Connection) -> int:
        attempts.append(connection.scalar(sa.text("SELECT pg_backend_pid()")))
        if len(attempts) == 1:
            connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")
        return connection.scalar(sa.text("SELECT pg_backend_pid()"))

    assert work(empty_engine) == attempts[1] != attempts[0]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("40001", "The database ended the work again and again"),
        ("53100", "no room left .*; free disk space"),
        ("53400", "no room left"),
        ("25006", "The database can only be read"),
        ("57P01", "The database does not answer"),
        ("58030", "ended the work .*; read the server's log"),
        ("XX001", "internal error .*; read its log"),
    ],
)
def test_work_that_never_succeeds_ends_in_one_sentence(empty_engine, monkeypatch, code, message):
    monkeypatch.setattr(
        mernet.db.engine, "_RETRYING", mernet.db.engine._RETRYING.copy(wait=wait_none())
    )
    work = transaction(raise_sqlstate)
    with pytest.raises(ConnectionFailed, match=message):
        work(empty_engine, code)


def test_a_server_without_a_connection_left_is_told_from_one_that_does_not_run(
    empty_engine, database_url
):
    with empty_engine.begin() as connection:
        connection.exec_driver_sql("CREATE ROLE crowded LOGIN CONNECTION LIMIT 0")
    crowded = sa.make_url(database_url).set(username="crowded")
    try:
        with pytest.raises(ConnectionFailed, match=r"no room left .*too many connections"):
            connect(crowded.render_as_string(hide_password=False))
    finally:
        with empty_engine.begin() as connection:
            connection.exec_driver_sql("DROP ROLE crowded")


def test_after_a_failover_the_new_primary_is_asked_on_new_connections(
    empty_engine, database_url, monkeypatch
):
    name = sa.make_url(database_url).database
    owner = sa.create_engine(database_url, isolation_level="AUTOCOMMIT")
    attempts = []

    @transaction
    def work(connection: sa.Connection) -> None:
        attempts.append(connection.scalar(sa.text("SELECT pg_backend_pid()")))
        connection.exec_driver_sql("CREATE TABLE written ()")

    with owner.connect() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        empty_engine.dispose()
        with empty_engine.connect():
            connection.exec_driver_sql(f"ALTER DATABASE {name} RESET ALL")
    owner.dispose()
    work(empty_engine)
    assert len(set(attempts)) == 2
    assert sa.inspect(empty_engine).has_table("written")


def test_whether_a_database_can_be_written_is_told_with_the_cause(empty_engine, monkeypatch):
    assert why_not_writable(empty_engine) is None
    assert not sa.inspect(empty_engine).has_table("try_to_write")
    reader = empty_engine.execution_options(postgresql_readonly=True)
    assert "can only be read" in str(why_not_writable(reader))


@pytest.mark.parametrize("code", ["0A000", "21000", "22P05", "23514", "54000", "54001", "P0001"])
def test_what_the_data_cause_is_no_fault_of_the_server(empty_engine, code):
    with pytest.raises(sa.exc.DBAPIError) as caught:
        transaction(raise_sqlstate)(empty_engine, code)
    assert not is_server_fault(caught.value)


def test_a_permanent_error_is_raised_at_once_and_undoes_the_work(empty_engine):
    attempts = []

    @transaction
    def work(connection: sa.Connection) -> None:
        attempts.append(1)
        connection.exec_driver_sql("CREATE TABLE left_behind ()")
        connection.exec_driver_sql("SELECT 1 / 0")

    with pytest.raises(sa.exc.DataError):
        work(empty_engine)
    assert len(attempts) == 1
    assert not sa.inspect(empty_engine).has_table("left_behind")
