"""Connecting, and transactions that are retried."""

import pytest
import sqlalchemy as sa
from tenacity import wait_none

import mernet.db.engine
from mernet.db.engine import connect, transaction
from mernet.db.errors import ConnectionFailed


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "cannot be read"),
        ("mysql://localhost/x", "has to be postgresql://"),
        ("postgresql://someone:secret@/x?host=/nowhere", "No database at .*start the server"),
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


@pytest.mark.parametrize("code", ["40P01", "40001"])
def test_work_is_repeated_after_a_deadlock_or_a_serialization_failure(empty_engine, code):
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


def test_work_that_never_succeeds_ends_in_one_sentence(empty_engine, monkeypatch):
    monkeypatch.setattr(
        mernet.db.engine, "_RETRYING", mernet.db.engine._RETRYING.copy(wait=wait_none())
    )
    work = transaction(raise_sqlstate)
    with pytest.raises(ConnectionFailed, match="The database does not answer"):
        work(empty_engine, "40001")


def test_a_server_without_room_is_asked_again_and_then_named_as_the_cause(
    empty_engine, monkeypatch
):
    monkeypatch.setattr(
        mernet.db.engine, "_RETRYING", mernet.db.engine._RETRYING.copy(wait=wait_none())
    )
    work = transaction(raise_sqlstate)
    with pytest.raises(ConnectionFailed, match=r"no room left .*; free disk space"):
        work(empty_engine, "53100")


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
