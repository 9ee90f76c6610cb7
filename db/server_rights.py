"""Rights on the server: only the service and the readers of the Atlas can use the database.

Postgres gives everybody (PUBLIC) the right to connect to a database, to create temporary tables in
it, and to call nearly all functions. What the caller may take away is taken away; `left_open` tells
what remains.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from psycopg2.extensions import encrypt_password

from mernet.db.engine import first_line, transaction
from mernet.db.errors import RolesRefused

READER_ROLE = "mernet_atlas"
SERVICE_ROLE = "mernet_service"
"""Groups that the tables grant their rights to; logins are members."""

OWNER, WORKER = "mernet_owner", "mernet_worker"
"""The logins that own the tables and that the workers use."""

READER_CONNECTIONS = 20
# Without `enable_sort = off`, all images of a class are sorted for its first 50: the planner does
# not know that the query wants only some of them, and prefers that to the order of the index.
READER_SETTINGS = {
    "statement_timeout": "30s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "60s",
    "enable_sort": "off",
}
"""Defaults of a reader's sessions, which a session may change."""

TEMPORARY_FILES = "1GB"
"""Largest size of a reader's temporary files, which only a superuser may set or change."""

# Functions with which a login that may only read could do harm: hold locks that others use, fill
# the disk with large objects or the write-ahead log, use up transaction numbers, and fill the queue
# of notifications.
HARMFUL = """
    pronamespace = 'pg_catalog'::regnamespace AND (
        proname ~ '^pg_(try_)?advisory_' OR proname ~ '^(lo_|loread$|lowrite$)'
        OR proname IN (
            'pg_logical_emit_message', 'pg_notify', 'pg_export_snapshot', 'pg_current_xact_id',
            'txid_current'
        )
    )
"""

# A role that has rights on our tables, or reads the view, got in as PUBLIC until now.
CLOSE = f"""
DO $$
DECLARE
    known record;
    place text := current_schema();
BEGIN
    IF pg_has_role((SELECT datdba FROM pg_database WHERE datname = current_database()), 'USAGE')
    THEN
        IF has_database_privilege('public', current_database(), 'CONNECT') THEN FOR known IN
            SELECT rolname FROM pg_class
            CROSS JOIN LATERAL aclexplode(relacl) AS given JOIN pg_roles ON pg_roles.oid = grantee
            WHERE relnamespace = place::regnamespace AND rolname <> '{READER_ROLE}'
            UNION SELECT pg_get_userbyid(relowner) FROM pg_class
            WHERE oid = 'product'::regclass
            UNION SELECT login.rolname FROM pg_auth_members
            JOIN pg_roles AS held ON held.oid = roleid JOIN pg_roles AS login ON login.oid = member
            WHERE held.rolname = '{READER_ROLE}' AND NOT login.rolsuper
        LOOP
            EXECUTE format(
                'GRANT CONNECT ON DATABASE %I TO %I', current_database(), known.rolname);
        END LOOP; END IF;
        EXECUTE format(
            'REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
        EXECUTE format(
            'GRANT CONNECT, TEMPORARY ON DATABASE %I TO {SERVICE_ROLE}', current_database());
    END IF;
    IF pg_has_role((SELECT nspowner FROM pg_namespace WHERE nspname = place), 'USAGE') THEN
        EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', place);
    END IF;
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        FOR known IN
            SELECT oid::regprocedure AS called FROM pg_proc
            WHERE {HARMFUL} AND has_function_privilege('{READER_ROLE}', oid, 'EXECUTE')
        LOOP
            EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', known.called);
        END LOOP;
    END IF;
END $$
"""

# Postgres 16 and newer let a role that may create roles change only those that it created.
READERS_TO_LIMIT = sa.text(f"""
SELECT login.rolname
FROM pg_auth_members
JOIN pg_roles AS held ON held.oid = roleid
JOIN pg_roles AS login ON login.oid = member
JOIN pg_roles AS me ON me.rolname = current_user
WHERE held.rolname = '{READER_ROLE}' AND login.rolcanlogin AND NOT login.rolsuper
    AND (me.rolsuper OR me.rolcreaterole AND (
        current_setting('server_version_num')::integer < 160000
        OR EXISTS (
            SELECT FROM pg_auth_members AS own
            WHERE own.roleid = login.oid AND own.member = me.oid AND own.admin_option
        )
    ))
""")

LEFT_OPEN = {
    "connect to the databases {}": """
        SELECT string_agg(datname, ', ' ORDER BY datname) FROM pg_database
        WHERE datallowconn AND datname <> current_database()
            AND has_database_privilege(:login, oid, 'CONNECT')
    """,
    "create temporary tables": """
        SELECT '' WHERE has_database_privilege(:login, current_database(), 'TEMPORARY')
    """,
    "create tables and functions in the schema {}": """
        SELECT string_agg(nspname, ', ') FROM pg_namespace
        WHERE nspname !~ '^pg_' AND has_schema_privilege(:login, oid, 'CREATE')
    """,
    "call functions that lock, or that write ({} and others)": f"""
        SELECT min(proname) FROM pg_proc
        WHERE {HARMFUL} AND has_function_privilege(:login, oid, 'EXECUTE')
    """,
    "fill the disk with temporary files": """
        SELECT '' WHERE NOT EXISTS (
            SELECT FROM pg_db_role_setting JOIN pg_roles ON pg_roles.oid = setrole
            CROSS JOIN LATERAL unnest(setconfig) AS setting
            WHERE rolname = :login AND setting LIKE 'temp_file_limit=%'
        )
    """,
}
"""What a reader may do besides reading, and the query that has a row if it is so."""


def close_to_public(connection: sa.Connection) -> None:
    """Take from PUBLIC what the caller may take, and limit the readers that there are."""
    connection.execute(sa.text(CLOSE))
    for login in connection.execute(READERS_TO_LIMIT).scalars().all():
        limit_reader(connection, login)


LET_IN = """
DO $$
BEGIN
    IF pg_has_role((SELECT datdba FROM pg_database WHERE datname = current_database()), 'USAGE')
    THEN
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO {login}', current_database());
    END IF;
END $$
"""


def let_in(connection: sa.Connection, login: str) -> None:
    """Let a login connect to this database, of which others are shut out."""
    connection.execute(sa.text(LET_IN.format(login=login)))


def limit_reader(connection: sa.Connection, login: str) -> None:
    """Give a reader's login its limits; that of temporary files only if the caller may."""
    name = f'"{login}"'
    connection.exec_driver_sql(f"ALTER ROLE {name} CONNECTION LIMIT {READER_CONNECTIONS}")
    for setting, value in READER_SETTINGS.items():
        connection.exec_driver_sql(f"ALTER ROLE {name} SET {setting} = '{value}'")
    if _may_set_file_limit(connection):
        connection.exec_driver_sql(f"ALTER ROLE {name} SET temp_file_limit = '{TEMPORARY_FILES}'")


@transaction
def left_open(connection: sa.Connection, login: str) -> list[str]:
    """Return what a reader's login may do besides reading the view, in words."""
    found = []
    for words, query in LEFT_OPEN.items():
        detail = connection.scalar(sa.text(query), {"login": login})
        if detail is not None:
            found.append(words.format(detail))
    return found


@dataclass(frozen=True, slots=True)
class Login:
    """A login of the service and its password."""

    name: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.name!r})"


def create_service_logins(engine: sa.Engine, owner: str, worker: str) -> None:
    """Create the logins of the service, or give them these passwords; they get what there is.

    `mernet_owner` owns the database and its tables and upgrades them. `mernet_worker` reads and
    writes rows. Neither may create roles, read files of the server or run programs there. Everybody
    else is shut out of the server's databases `postgres` and `template1`.

    Args:
        engine: A connection as a superuser of the server, to the service's database.
        owner: The password of `mernet_owner`.
        worker: The password of `mernet_worker`.

    Raises:
        RolesRefused: The connection is not a superuser's, or the server refuses.
    """
    try:
        _create_logins(engine, [Login(OWNER, owner), Login(WORKER, worker)])
    except sa.exc.ProgrammingError as error:
        raise RolesRefused(
            f"The logins could not be created ({first_line(error)}); do it as a superuser of the "
            "server, in the service's database."
        ) from error


@transaction
def _create_logins(connection: sa.Connection, logins: Sequence[Login]) -> None:
    if not connection.scalar(sa.text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")):
        raise RolesRefused(
            "Only a superuser of the server can create the service's logins; connect as one."
        )
    for group in (READER_ROLE, SERVICE_ROLE):
        _create_role(connection, group, "NOLOGIN")
    for login in logins:
        _create_role(connection, login.name, "LOGIN")
        # Encrypted here, so that the server's log cannot show the password.
        encrypted = encrypt_password(
            login.password, login.name, connection.connection.driver_connection
        )
        connection.execute(
            sa.text(
                f"ALTER ROLE {login.name} LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION "
                "NOBYPASSRLS PASSWORD :encrypted"
            ),
            {"encrypted": encrypted},
        )
    connection.exec_driver_sql(f"GRANT {SERVICE_ROLE} TO {WORKER}")
    connection.execute(sa.text(GIVE_TO_OWNER))
    connection.exec_driver_sql("REVOKE CONNECT, TEMPORARY ON DATABASE postgres FROM PUBLIC")
    connection.exec_driver_sql("REVOKE CONNECT, TEMPORARY ON DATABASE template1 FROM PUBLIC")
    if connection.scalar(sa.text("SELECT to_regclass('product') IS NOT NULL")):
        close_to_public(connection)


# Sequences follow their tables; what belongs to an extension stays with it.
GIVE_TO_OWNER = f"""
DO $$
DECLARE
    place text := current_schema();
    part record;
BEGIN
    EXECUTE format('ALTER DATABASE %I OWNER TO {OWNER}', current_database());
    EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO {OWNER}', place);
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO {OWNER} WITH GRANT OPTION', place);
    FOR part IN
        SELECT format('TABLE %s', oid::regclass) AS named, oid, 'pg_class'::regclass AS class
        FROM pg_class WHERE relnamespace = place::regnamespace AND relkind IN ('r', 'v', 'm', 'p')
        UNION ALL
        SELECT format('FUNCTION %s', oid::regprocedure), oid, 'pg_proc'::regclass
        FROM pg_proc WHERE pronamespace = place::regnamespace
    LOOP
        IF NOT EXISTS (
            SELECT FROM pg_depend
            WHERE objid = part.oid AND classid = part.class AND deptype = 'e'
        ) THEN
            EXECUTE format('ALTER %s OWNER TO {OWNER}', part.named);
        END IF;
    END LOOP;
END $$
"""


def _create_role(connection: sa.Connection, name: str, kind: str) -> None:
    known = connection.scalar(
        sa.text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": name}
    )
    if not known:
        connection.exec_driver_sql(f"CREATE ROLE {name} {kind}")


def _may_set_file_limit(connection: sa.Connection) -> bool:
    may: bool = connection.execute(
        sa.text("SELECT has_parameter_privilege('temp_file_limit', 'SET')")
    ).scalar_one()
    return may
