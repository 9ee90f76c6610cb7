"""Readers: the rights of logins that search, and logins that are left alone."""

import pytest
import sqlalchemy as sa

from mernet.db.errors import ReaderRefused
from mernet.db.reader_logins import create_reader

READER = "test_reader"


@pytest.fixture(autouse=True)
def no_login_stays(story):
    """Logins belong to the server, not to the test's database."""
    yield
    if story.rows("SELECT FROM pg_roles WHERE rolname = :name", name=READER):
        story.execute(f"DROP OWNED BY {READER}; DROP ROLE {READER}")


def stored_password(story) -> str:
    ((password,),) = story.rows(
        "SELECT rolpassword FROM pg_authid WHERE rolname = :name", name=READER
    )
    return password


@pytest.fixture
def as_reader(story):
    """A connection as the reader."""
    assert create_reader(story.engine, READER, "secret")
    engine = sa.create_engine(story.engine.url.set(username=READER))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_a_reader_sees_what_is_published(story, as_reader, product):
    story.classified([product(1)], (0.95, *[0.1] * 24))
    assert as_reader.exec_driver_sql("SELECT class FROM atlas_search").all() == [("rod",)]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM outcome",
        "SELECT * FROM product",
        "SELECT * FROM run",
        "INSERT INTO image_class VALUES ('x', 99, 'x', 'x')",
        "DELETE FROM classification",
        "DROP VIEW atlas_search",
        "CREATE TABLE mine ()",
        "CREATE ROLE another",
    ],
)
def test_a_reader_may_do_nothing_else(as_reader, statement):
    with pytest.raises(sa.exc.ProgrammingError, match=r"permission denied|must be owner"):
        as_reader.exec_driver_sql(statement)


def test_a_reader_gets_a_new_password_which_is_stored_encrypted(story):
    assert create_reader(story.engine, READER, "first secret")
    first = stored_password(story)
    assert not create_reader(story.engine, READER, "second secret")
    assert stored_password(story) != first
    assert first.startswith("SCRAM-SHA-256$")


@pytest.mark.parametrize(
    "rights",
    [
        f"CREATE ROLE {READER} LOGIN SUPERUSER",
        f"CREATE ROLE {READER} LOGIN CREATEROLE",
        f"CREATE ROLE {READER} NOLOGIN",
        f"CREATE ROLE {READER} LOGIN IN ROLE pg_read_all_data",
        f"CREATE ROLE {READER} LOGIN; GRANT SELECT ON outcome TO {READER}",
        f"CREATE ROLE {READER} LOGIN; CREATE SCHEMA AUTHORIZATION {READER}",
    ],
)
def test_a_login_with_other_rights_is_left_alone(story, rights):
    story.execute(rights)
    with pytest.raises(ReaderRefused, match="other rights"):
        create_reader(story.engine, READER, "secret")
    assert stored_password(story) is None


@pytest.mark.parametrize("name", ["", "Reader", "a b", 'x"; DROP TABLE run; --', "1st", "a" * 64])
def test_a_name_that_no_login_can_have_is_refused(story, name):
    with pytest.raises(ReaderRefused, match="lower-case letters"):
        create_reader(story.engine, name, "secret")


def test_a_name_that_the_server_reserves_is_refused(story):
    with pytest.raises(ReaderRefused, match='"pg_reader" is reserved'):
        create_reader(story.engine, "pg_reader", "secret")
