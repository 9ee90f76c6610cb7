"""What a reader's login may try: each attack over a connection of its own."""

import contextlib
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from alembic import command

from fixtures.ledger import Story, make_product, move
from mernet.db import migrate
from mernet.db.errors import RolesRefused
from mernet.db.reader_logins import create_reader
from mernet.db.server_rights import create_service_logins, left_open

READER = "test_attacker"
HIDDEN, SHOWN = make_product(1, "1"), make_product(1, "2")
"""An image and its new version, which a search shows in its place."""


def forget(engine: sa.Engine, login: str) -> None:
    """Logins belong to the server, not to the test's database."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if connection.scalar(sa.text(f"SELECT 1 FROM pg_roles WHERE rolname = '{login}'")):
            connection.exec_driver_sql(f"DROP OWNED BY {login}")
            connection.exec_driver_sql(f"DROP ROLE {login}")


@contextlib.contextmanager
def connected(engine: sa.Engine, login: str, **url: object) -> Iterator[sa.Connection]:
    """A connection as a login, each statement a transaction of its own."""
    theirs = sa.create_engine(engine.url.set(username=login, **url), isolation_level="AUTOCOMMIT")
    try:
        with theirs.connect() as connection:
            yield connection
    finally:
        theirs.dispose()


@pytest.fixture
def reader(story: Story) -> Iterator[sa.Connection]:
    for product in (HIDDEN, SHOWN):
        story.classified([product], (0.95, *[0.1] * 24))
    create_reader(story.engine, READER, "secret")
    try:
        with connected(story.engine, READER) as connection:
            yield connection
    finally:
        forget(story.engine, READER)


def refused(connection: sa.Connection, statement: str, why: str) -> None:
    with pytest.raises(sa.exc.DBAPIError, match=why):
        connection.execute(sa.text(statement))


DENIED = {
    "lock a number": "SELECT pg_advisory_lock(1)",
    "lock the sweep": "SELECT pg_try_advisory_lock(hashtext('mernet sweep'))",
    "lock the upgrade": "SELECT pg_advisory_xact_lock_shared(hashtext('mernet upgrade'))",
    "lock the version": "BEGIN; LOCK TABLE alembic_version IN ACCESS SHARE MODE",
    "lock a row of a lock": "SELECT * FROM service_lock FOR UPDATE",
    "lock the published table": "BEGIN; LOCK TABLE classification IN ACCESS EXCLUSIVE MODE",
    "lock the view": "BEGIN; LOCK TABLE atlas_search IN ACCESS EXCLUSIVE MODE",
    "read below the view": "SELECT * FROM shown_classification",
    "read a folder's images": "SELECT * FROM own_search",
    "read the history": "SELECT * FROM outcome_history",
    "read the version": "SELECT * FROM alembic_version",
    "read thresholds": "SELECT * FROM effective_threshold",
    "read statistics": "SELECT * FROM pg_statistic",
    "read passwords": "SELECT rolpassword FROM pg_authid",
    "read server files": "SELECT pg_read_file('postgresql.conf')",
    "list server files": "SELECT pg_ls_dir('.')",
    "read large objects of others": "SELECT lo_get(1)",
    "write a large object": "SELECT lo_from_bytea(0, 'x')",
    "create a large object": "SELECT lo_create(0)",
    "write server files": "COPY (SELECT 1) TO '/tmp/mernet-attack'",
    "run a program": "COPY (SELECT 1) TO PROGRAM 'true'",
    "write the log of writes": "SELECT pg_logical_emit_message(false, 'x', 'y')",
    "create a temporary table": "CREATE TEMPORARY TABLE mine (n int)",
    "create a temporary view": "CREATE TEMPORARY VIEW mine AS SELECT 1",
    "create a function": "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "create an operator": "CREATE OPERATOR <<< (LEFTARG = text, FUNCTION = texteq)",
    "create a type": "CREATE TYPE mine AS (n int)",
    "create a schema": "CREATE SCHEMA mine",
    "create an extension": "CREATE EXTENSION plpgsql SCHEMA public VERSION '1.0'",
    "create a temporary function": "CREATE FUNCTION pg_temp.f() RETURNS int AS '' LANGUAGE sql",
    "become the owner": "SET ROLE postgres",
    "become the service": "SET ROLE mernet_service",
    "write through the view": "DELETE FROM atlas_search",
    "change files' limit": "SET temp_file_limit = -1",
    "stop others": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE usename = 'postgres' AND datname IS NOT NULL",
}


@pytest.mark.parametrize("attack", DENIED)
def test_an_attack_is_refused(story, reader, attack):
    with story.engine.connect():  # whom the reader might stop
        refused(
            reader,
            DENIED[attack],
            r"permission denied|must be|may run|cannot delete from view|already exists"
            r"|Only roles|temporary",
        )


PEEKING = [f"{column}::integer = 1" for column in ("product_id", "(image_url || product_id)")]
"""Casts fail, and their messages quote what they see."""


@pytest.mark.parametrize("condition", PEEKING)
def test_a_condition_sees_no_row_that_the_view_does_not_show(reader, condition):
    with pytest.raises(sa.exc.DBAPIError) as told:
        reader.execute(sa.text(f"SELECT 1 FROM atlas_search WHERE {condition}"))
    assert SHOWN.product_id in str(told.value.orig)
    assert HIDDEN.product_id not in str(told.value.orig)


def test_a_function_in_a_condition_is_called_for_shown_rows_only(story, reader):
    """A function that tells what it is given; the owner makes it, since a reader cannot."""
    story.execute(
        "CREATE FUNCTION tell(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS"
        " $$BEGIN RAISE EXCEPTION 'saw %', $1; END$$"
    )
    with pytest.raises(sa.exc.DBAPIError, match=f"saw {SHOWN.product_id}"):
        reader.exec_driver_sql("SELECT 1 FROM atlas_search WHERE tell(product_id)")


@pytest.mark.parametrize("database", ["postgres", "template1"])
def test_other_databases_are_closed(story, reader, database):
    with (
        pytest.raises(sa.exc.OperationalError, match="permission denied for database"),
        connected(story.engine, READER, database=database),
    ):
        pass


def test_a_reader_of_one_archive_cannot_connect_to_that_of_another(story, reader, empty_engine):
    migrate.upgrade(empty_engine)
    forbidden = "permission denied for database"
    # Upgrading lets readers in that there were before, so a reader that comes later is tried.
    create_reader(story.engine, "test_latecomer", "secret")
    try:
        with (
            pytest.raises(sa.exc.OperationalError, match=forbidden),
            connected(empty_engine, "test_latecomer"),
        ):
            pass
    finally:
        forget(story.engine, "test_latecomer")


def test_queries_of_others_are_hidden(story, reader):
    with story.engine.connect() as other:
        other.exec_driver_sql("SELECT 'a secret of another session'")
        seen = reader.exec_driver_sql(
            "SELECT query FROM pg_stat_activity WHERE usename <> current_user"
        ).scalars()
        assert not [query for query in seen if query and "secret" in query]


def test_sessions_have_time_outs(reader):
    wanted = {
        "statement_timeout": "30s",
        "lock_timeout": "5s",
        "idle_in_transaction_session_timeout": "1min",
        "temp_file_limit": "1GB",
    }
    assert {name: reader.exec_driver_sql(f"SHOW {name}").scalar() for name in wanted} == wanted


def test_a_long_query_is_ended(reader):
    reader.exec_driver_sql("SET statement_timeout = '50ms'")
    refused(reader, "SELECT pg_sleep(60)", "statement timeout")


def test_connections_are_limited(story, reader):
    story.execute(f"ALTER ROLE {READER} CONNECTION LIMIT 1")  # as with the 21st
    with (
        pytest.raises(sa.exc.OperationalError, match="too many connections"),
        connected(story.engine, READER),
    ):
        pass
    create_reader(story.engine, READER, "secret")
    assert story.rows(f"SELECT rolconnlimit FROM pg_roles WHERE rolname = '{READER}'") == [(20,)]


def test_nothing_is_left_open_on_a_server_of_its_own(story, reader):
    """The tests' other databases, which the tests create, are the exception."""
    left = left_open(story.engine, READER)
    assert [words for words in left if "databases" not in words] == []
    for words in left:
        assert "postgres" not in words
        assert "template1" not in words


def test_what_is_left_open_is_told(story, reader):
    story.execute(f"GRANT TEMPORARY ON DATABASE {story.engine.url.database} TO {READER}")
    try:
        assert "create temporary tables" in left_open(story.engine, READER)
    finally:
        story.execute(f"REVOKE TEMPORARY ON DATABASE {story.engine.url.database} FROM {READER}")


def test_an_upgrade_limits_readers_that_exist_and_lets_them_in(empty_engine):
    move(empty_engine, command.upgrade, "0006")
    with empty_engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {READER} LOGIN IN ROLE mernet_atlas")
    try:
        migrate.upgrade(empty_engine)
        with connected(empty_engine, READER) as connection:
            assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "30s"
            assert connection.exec_driver_sql("SELECT * FROM atlas_search").all() == []
            refused(connection, "CREATE TEMPORARY TABLE mine (n int)", "permission denied")
            refused(connection, "SELECT pg_advisory_lock(1)", "permission denied")
    finally:
        forget(empty_engine, READER)


def test_a_reader_cannot_keep_an_upgrade_waiting_for_good(empty_engine, monkeypatch):
    move(empty_engine, command.upgrade, "0006")
    monkeypatch.setattr(migrate, "LOCK_SECONDS", 1)
    with empty_engine.connect() as reading:
        reading.exec_driver_sql("SELECT * FROM atlas_search")
        with pytest.raises(migrate.SchemaError, match="others have used them for 1 seconds"):
            migrate.upgrade(empty_engine)


def test_an_upgrade_keeps_the_rights_of_others_but_not_below_the_barrier(empty_engine):
    analyst = "test_analyst"
    move(empty_engine, command.upgrade, "0006")
    with empty_engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {analyst} LOGIN")
        connection.exec_driver_sql(f"GRANT SELECT ON atlas_search, run TO {analyst}")
    try:
        migrate.upgrade(empty_engine)
        with connected(empty_engine, analyst) as connection:
            assert connection.exec_driver_sql("SELECT * FROM atlas_search").all() == []
            assert connection.exec_driver_sql("SELECT * FROM run").all() == []
            refused(connection, "SELECT * FROM shown_classification", "permission denied")
    finally:
        forget(empty_engine, analyst)


def test_the_role_of_the_service_has_no_more_rights_than_rows(story):
    """Each right on each table of the group that workers' logins are members of."""
    granted = story.rows(
        "SELECT DISTINCT privilege_type FROM pg_class"
        " CROSS JOIN LATERAL aclexplode(relacl) AS given"
        " WHERE grantee = 'mernet_service'::regrole"
    )
    assert {right for (right,) in granted} == {"SELECT", "INSERT", "UPDATE", "DELETE"}
    kept = story.rows(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        " AND NOT has_table_privilege('mernet_service', oid, 'DELETE')"
    )
    assert {name for (name,) in kept} == {
        *("alembic_version", "image_class", "product", "classifier", "promotion"),
        *("run", "chunk", "run_product", "outcome_history", "product_history"),
    }
    changeable = story.rows(
        "SELECT attrelid::regclass::text, attname FROM pg_attribute"
        " WHERE attrelid IN ('outcome_history'::regclass, 'product_history'::regclass)"
        " AND attnum > 0 AND has_column_privilege('mernet_service', attrelid, attnum, 'UPDATE')"
    )
    assert changeable == [("outcome_history", "replaced_by")]


def test_the_service_logins_are_made_by_a_superuser_only(empty_engine):
    with empty_engine.begin() as connection:
        connection.exec_driver_sql("CREATE ROLE test_maker LOGIN CREATEROLE")
        name = empty_engine.url.database
        connection.exec_driver_sql(f"GRANT CONNECT ON DATABASE {name} TO test_maker")
    theirs = sa.create_engine(empty_engine.url.set(username="test_maker"))
    try:
        with pytest.raises(RolesRefused, match="Only a superuser"):
            create_service_logins(theirs, "one", "two")
    finally:
        theirs.dispose()
        forget(empty_engine, "test_maker")
