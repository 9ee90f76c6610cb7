"""From an empty database to the tables, and back."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from mernet.db import ledger, migrate
from mernet.db.errors import SchemaError
from mernet.db.tables import METADATA

EARLIER = sorted(script.revision for script in ScriptDirectory(migrate.MIGRATIONS).walk_revisions())
EARLIER.pop()


@pytest.fixture
def engine(empty_engine):
    """An engine for a database of the test's own, with tables."""
    migrate.upgrade(empty_engine)
    return empty_engine


def differences(engine):
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return compare_metadata(context, METADATA)


def test_an_empty_database_is_not_current_and_the_error_says_what_to_run(empty_engine):
    with pytest.raises(SchemaError, match="run `mernet db upgrade`"):
        migrate.check_current(empty_engine)


def test_upgrading_makes_a_database_current(empty_engine):
    migrate.upgrade(empty_engine)
    migrate.check_current(empty_engine)


def test_upgrading_twice_is_harmless(engine):
    migrate.upgrade(engine)
    migrate.check_current(engine)


def test_two_processes_may_upgrade_at_once(empty_engine):
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(migrate.upgrade, [empty_engine, empty_engine]))
    migrate.check_current(empty_engine)


def test_the_migrations_make_exactly_the_tables_that_queries_use(engine):
    assert differences(engine) == []


def test_a_column_that_queries_do_not_know_is_noticed(engine):
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE product ADD surprise text")
    assert differences(engine) != []


def test_downgrading_leaves_no_table_and_upgrading_again_works(engine):
    with engine.begin() as connection:
        command.downgrade(migrate.configuration(connection), "base")
        left = connection.exec_driver_sql(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relkind IN ('r', 'v') AND relname <> 'alembic_version'"
        ).all()
    assert left == []
    migrate.upgrade(engine)
    migrate.check_current(engine)


@pytest.mark.parametrize("earlier", EARLIER)
def test_a_database_of_any_earlier_version_is_brought_up_to_date(empty_engine, earlier):
    with empty_engine.begin() as connection:
        command.upgrade(migrate.configuration(connection), earlier)
    migrate.upgrade(empty_engine)
    migrate.check_current(empty_engine)
    assert differences(empty_engine) == []


def test_a_run_of_the_first_version_is_not_paused(empty_engine):
    with empty_engine.begin() as connection:
        command.upgrade(migrate.configuration(connection), "0001")
        connection.exec_driver_sql(
            "INSERT INTO classifier (sha256, name, path, threshold, header)"
            " VALUES (repeat('a', 64), 'first', '/first', 0.9, '{}')"
        )
        connection.exec_driver_sql(
            "INSERT INTO run (kind, state, classifier, archives, products, chunk_size, again)"
            " VALUES ('full', 'running', repeat('a', 64), '{sample}', 'edr', 32, false)"
        )
    migrate.upgrade(empty_engine)
    assert not ledger.get_run(empty_engine).paused


def test_a_database_of_a_newer_program_is_refused_by_both(engine):
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    for step in (migrate.check_current, migrate.upgrade):
        with pytest.raises(SchemaError, match="9999, which this program does not know"):
            step(engine)


def test_a_user_who_may_not_create_tables_is_told_so(empty_engine):
    url = empty_engine.url.update_query_dict({"options": "-c role=pg_monitor"})
    restricted = sa.create_engine(url)
    with pytest.raises(SchemaError, match="may create tables and roles"):
        migrate.upgrade(restricted)
    restricted.dispose()
