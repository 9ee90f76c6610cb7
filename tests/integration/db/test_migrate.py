"""From an empty database to the tables, and back."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from fixtures.ledger import move
from mernet.db import ledger, migrate
from mernet.db.alembic_steps import configuration
from mernet.db.errors import SchemaError, SchemaOutdated
from mernet.db.tables import METADATA

EARLIER = migrate.KNOWN_VERSIONS[:-1]


@pytest.fixture
def engine(empty_engine):
    """An engine for a database of the test's own, with tables."""
    migrate.upgrade(empty_engine)
    return empty_engine


def differences(engine):
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return compare_metadata(context, METADATA)


def test_the_versions_in_the_file_names_are_those_that_alembic_knows():
    scripts = ScriptDirectory(migrate.MIGRATIONS)
    known = sorted(script.revision for script in scripts.walk_revisions())
    assert list(migrate.KNOWN_VERSIONS) == known
    assert scripts.get_current_head() == migrate.NEWEST_VERSION


def test_an_empty_database_is_not_current_and_the_error_says_what_to_do(empty_engine):
    with pytest.raises(SchemaOutdated, match="no tables yet; create them"):
        migrate.check_current(empty_engine)


def test_older_tables_are_not_current_and_the_error_names_both_versions(empty_engine):
    move(empty_engine, command.upgrade, "0003")
    wanted = f"at version 0003 and this program needs {migrate.NEWEST_VERSION}; upgrade them"
    with pytest.raises(SchemaOutdated, match=wanted):
        migrate.check_current(empty_engine)


def test_the_version_is_the_one_that_alembic_reads(engine):
    with engine.connect() as connection:
        alembics = MigrationContext.configure(connection).get_current_revision()
        assert migrate.read_version(connection) == alembics == migrate.NEWEST_VERSION


def test_neither_searching_nor_the_ledger_loads_alembic_or_numpy(engine):
    program = """
import sys
from mernet.db import classifiers, comparison, ledger, migrate, pruning, search, thresholds
from mernet.db.engine import connect
engine = connect(sys.argv[1])
migrate.upgrade(engine)
migrate.check_current(engine)
print(*sorted({"alembic", "mako", "numpy"} & set(sys.modules)))
"""
    url = engine.url.render_as_string(hide_password=False)
    ended = subprocess.run(
        [sys.executable, "-c", program, url], capture_output=True, text=True, check=True
    )
    assert ended.stdout.split() == []


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
        command.downgrade(configuration(connection), "base")
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
        command.upgrade(configuration(connection), earlier)
    migrate.upgrade(empty_engine)
    migrate.check_current(empty_engine)
    assert differences(empty_engine) == []


def test_a_run_of_the_first_version_is_not_paused(empty_engine):
    with empty_engine.begin() as connection:
        command.upgrade(configuration(connection), "0001")
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
