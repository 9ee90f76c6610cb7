"""Readers: logins that may read the view `atlas_search` and nothing else."""

import re

import sqlalchemy as sa
from psycopg2.extensions import encrypt_password

from mernet.db.engine import first_line, transaction
from mernet.db.errors import ReaderRefused
from mernet.db.server_rights import READER_ROLE, close_to_public, let_in, limit_reader
from mernet.printable import quoted

NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")

# pg_shdepend lists what the login owns and what was granted to it in all databases of the server.
# Newer servers also list memberships in roles there; those are checked separately. Of databases, a
# reader has the right to connect.
OTHER_RIGHTS = sa.text("""
SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
    OR NOT rolcanlogin
    OR EXISTS (
        SELECT FROM pg_shdepend
        WHERE refclassid = 'pg_authid'::regclass AND refobjid = login.oid
            AND classid NOT IN ('pg_auth_members'::regclass, 'pg_database'::regclass)
    )
    OR EXISTS (
        SELECT FROM pg_database LEFT JOIN LATERAL aclexplode(datacl) AS given ON true
        WHERE datdba = login.oid OR grantee = login.oid AND privilege_type <> 'CONNECT'
    )
    OR EXISTS (
        SELECT FROM pg_auth_members JOIN pg_roles AS held ON held.oid = roleid
        WHERE member = login.oid AND held.rolname <> :role
    )
FROM pg_roles AS login WHERE rolname = :name
""")


def create_reader(engine: sa.Engine, name: str, password: str) -> bool:
    """Create a login that may read `atlas_search`, or give a reader a new password.

    Returns:
        Whether the login is new.

    Raises:
        ReaderRefused: The name cannot be used, the login or role has other rights, or the server
            refuses.
    """
    if not NAME.fullmatch(name):
        raise ReaderRefused(
            f"{quoted(name)} cannot be a login's name; use at most 63 lower-case letters, "
            "digits and _."
        )
    try:
        return _create_login(engine, name, password)
    except sa.exc.ProgrammingError as error:
        raise ReaderRefused(
            f"The login could not be created ({first_line(error)}); choose another name, or do it "
            "as the user who created the tables, who has to be allowed to create roles."
        ) from error


@transaction
def _create_login(connection: sa.Connection, name: str, password: str) -> bool:
    other_rights = connection.scalar(OTHER_RIGHTS, {"name": name, "role": READER_ROLE})
    if other_rights:
        raise ReaderRefused(f"{name} has other rights than a reader's; choose another name.")
    is_new = other_rights is None
    verb = "CREATE" if is_new else "ALTER"
    # Encrypted here, so that the server's log cannot show the password.
    encrypted = encrypt_password(password, name, connection.connection.driver_connection)
    connection.execute(
        sa.text(f'{verb} ROLE "{name}" LOGIN PASSWORD :encrypted'), {"encrypted": encrypted}
    )
    connection.execute(sa.text(f'GRANT {READER_ROLE} TO "{name}"'))
    limit_reader(connection, name)
    let_in(connection, name)
    close_to_public(connection)
    return is_new
