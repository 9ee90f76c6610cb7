"""The connection to Postgres, transactions that are retried, and text that Postgres can store."""

import re
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from mernet.db.errors import ConnectionFailed

OLDEST_SERVER = 15
NO_ROOM = "53"
"""Class of SQLSTATEs: the server has no disk space, memory or connection left."""

NO_CONNECTION_LEFT = re.compile("too many (clients|connections)|connection slots are reserved")

READ_ONLY = "25006"
"""The server can only be read, such as one that was the primary before a failover."""

CONFLICTS = ("40P01", "40001")
"""A deadlock, and a serialization failure."""

TRANSIENT_SQLSTATES = (*CONFLICTS, "57P01", "57P02", "57P03", READ_ONLY)
"""Besides the class `NO_ROOM`: conflicts, and a server that shuts down, has crashed, is starting,
or can only be read."""

MISSING_RIGHT = "42501"
WRONG_STATEMENT = "42"
"""Class of SQLSTATEs: the statement does not fit the tables, or the login lacks a right."""

SHUT_DOWN = ("08", "57P")
"""Beginnings of SQLSTATEs: the connection is lost, or the server shuts down or is starting."""

OF_DATA = ("0A", "21", "54", "P0")
"""Classes of SQLSTATEs that the data cause, besides those of the types of errors that say so:
what the server cannot do at all, two rows for one, its limits; and what our statements raise."""

# When a network drops packets without an error, both ends wait: Linux closes the connection after
# 15 minutes if something was sent, after two hours if not, and until then the client holds its
# locks. Times are in seconds; those that end in `timeout` are in milliseconds.
CLIENT_TIMEOUTS = {"keepalives_idle": 30, "keepalives_interval": 10, "tcp_user_timeout": 30_000}
SESSION_SETTINGS = {
    "timezone": "UTC",
    "idle_in_transaction_session_timeout": 60_000,
    "tcp_keepalives_idle": 30,
    "tcp_keepalives_interval": 10,
    "tcp_user_timeout": 30_000,
}

UNREADABLE_URL = (
    "The database URL cannot be read; write it as postgresql://user:password@host/database, and in "
    "a password / as %2F, : as %3A, @ as %40."
)

P = ParamSpec("P")
T = TypeVar("T")


def connect(url: str) -> sa.Engine:
    """Return an engine for a database that answers; it is tried once.

    Args:
        url: postgresql://user:password@host/database

    Raises:
        ConnectionFailed: The URL is malformed or not Postgres, the server does not answer within
            ten seconds, or it is older than Postgres 15.
    """
    engine = sa.create_engine(
        _parse_url(url),
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": 10,
            "application_name": "mernet",
            "options": " ".join(f"-c {name}={value}" for name, value in SESSION_SETTINGS.items()),
            **CLIENT_TIMEOUTS,
        },
    )
    sa.event.listen(engine, "do_execute", _run_copy)
    sa.event.listen(engine, "handle_error", _leave_server_that_can_only_be_read)
    try:
        with engine.connect() as connection:
            version = connection.exec_driver_sql("SHOW server_version_num").scalar_one()
    except sa.exc.OperationalError as error:
        if _has_no_room(error):
            raise ConnectionFailed(_fault(error)) from error
        where = shown_url(engine)
        raise ConnectionFailed(
            f"No database at {where} ({first_line(error)}); start the server or correct "
            "MERNET_DATABASE_URL."
        ) from error
    if int(version) < OLDEST_SERVER * 10_000:
        raise ConnectionFailed(
            f"The server is Postgres {int(version) // 10_000}; use {OLDEST_SERVER} or a newer one."
        )
    return engine


def shown_url(engine: sa.Engine) -> str:
    """Return an engine's URL as other programs read it, without passwords."""
    url = engine.url.set(drivername="postgresql")
    secrets = [name for name in url.query if "password" in name.lower()]
    return url.difference_update_query(secrets).render_as_string(hide_password=True)


def transaction(
    work: Callable[Concatenate[sa.Connection, P], T],
) -> Callable[Concatenate[sa.Engine, P], T]:
    """Give `work` a transaction of its own: it is called with an engine and gets a connection.

    It is run up to ten times if a deadlock, a serialization failure, a lost connection or a server
    without room ends it, so its effect has to be safe to repeat. The function raises
    `ConnectionFailed` after that: after about twenty seconds if the server refuses, two or three
    minutes if the network drops packets without an error.
    """
    return _in_transaction(work, _RETRYING)


def transaction_once(
    work: Callable[Concatenate[sa.Connection, P], T],
) -> Callable[Concatenate[sa.Engine, P], T]:
    """Give `work` a transaction as `transaction` does, if its effect is not safe to repeat.

    It is run again only after a deadlock or a serialization failure, which undo it. If the answer
    to its COMMIT is lost, nobody knows whether it was done: the function then raises
    `ConnectionFailed`.
    """
    return _in_transaction(work, _RETRYING_WHAT_IS_UNDONE)


def _in_transaction(
    work: Callable[Concatenate[sa.Connection, P], T], retrying: Retrying
) -> Callable[Concatenate[sa.Engine, P], T]:
    @wraps(work)
    def run(engine: sa.Engine, /, *args: P.args, **kwargs: P.kwargs) -> T:
        def attempt() -> T:
            with engine.begin() as connection:
                return work(connection, *args, **kwargs)

        try:
            return retrying(attempt)
        except (
            sa.exc.TimeoutError,
            sa.exc.OperationalError,
            sa.exc.InterfaceError,
            sa.exc.InternalError,
        ) as error:
            if not is_server_fault(error):
                raise
            raise ConnectionFailed(server_fault(error)) from error

    return run


def is_server_fault(error: BaseException) -> bool:
    """Return whether an error is the fault of the database server or the way to it.

    The same work then succeeds later. All errors are but those of the data that was sent.
    """
    if isinstance(error, sa.exc.DataError | sa.exc.IntegrityError):
        return False
    if isinstance(error, sa.exc.DBAPIError):
        return not (sqlstate(error) or "").startswith(OF_DATA)
    return isinstance(error, ConnectionFailed | sa.exc.TimeoutError)


def why_not_writable(engine: sa.Engine) -> str | None:
    """Return why nothing can be written to a database that can be read; None if it can be.

    A temporary table is tried, since a table may have free space on a full disk. It is gone
    afterwards.
    """
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("CREATE TEMPORARY TABLE try_to_write (block text)")
            connection.exec_driver_sql("INSERT INTO try_to_write SELECT repeat('x', 1000)")
            connection.rollback()
    except sa.exc.DBAPIError as error:
        is_known = sqlstate(error) == READ_ONLY or _has_no_room(error)
        return _fault(error) if is_known else None
    return None


def server_fault(error: BaseException) -> str:
    """Return a sentence about a fault of the server (see `is_server_fault`): cause and remedy."""
    if isinstance(error, sa.exc.TimeoutError):
        return "All connections of this process to the database are in use; try again."
    return _fault(error) if isinstance(error, sa.exc.DBAPIError) else str(error)


def _fault(error: sa.exc.DBAPIError) -> str:
    code, cause = sqlstate(error) or "", first_line(error)
    if _has_no_room(error):
        return (
            f"The database server has no room left ({cause}); free disk space, memory or "
            "connections there, then try again."
        )
    if code == READ_ONLY:
        return (
            f"The database can only be read ({cause}); let its server be written again, or correct "
            "MERNET_DATABASE_URL if another server is the primary now."
        )
    if code in CONFLICTS:
        return f"The database ended the work again and again ({cause}); try again."
    if code.startswith("XX"):
        return f"The database server reports an internal error ({cause}); read its log."
    if code == MISSING_RIGHT:
        return (
            f"The database login lacks a right ({cause}); grant it, or correct MERNET_DATABASE_URL."
        )
    if code.startswith(WRONG_STATEMENT):
        return (
            f"The database has other tables than this program needs ({cause}); upgrade the "
            "database, or this program if it is the older one."
        )
    if code and not code.startswith(SHUT_DOWN):
        return f"The database server ended the work ({cause}); read the server's log."
    return f"The database does not answer ({cause}); check that it runs, then try again."


def sqlstate(error: sa.exc.DBAPIError) -> str | None:
    """Return the five-character code that the server sent, None if no server answered."""
    code: str | None = getattr(error.orig, "pgcode", None)
    return code


def first_line(error: sa.exc.DBAPIError) -> str:
    """Return the message of the server or driver, without SQL and hints."""
    return str(error.orig).strip().partition("\n")[0]


def _run_copy(cursor: Any, statement: str, _parameters: object, context: Any) -> bool:
    """Run a COPY from the file in the statement's execution option `copy_from`.

    SQLAlchemy calls this for every statement, and runs those itself for which it returns False. It
    turns the errors of a COPY into its own, as for all statements.
    """
    source = context.execution_options.get("copy_from")
    if source is None:
        return False
    cursor.copy_expert(statement, source)
    return True


def _has_no_room(error: sa.exc.DBAPIError) -> bool:
    code = sqlstate(error)
    if code is None:  # so it is while a connection is made
        return NO_CONNECTION_LEFT.search(first_line(error)) is not None
    return code.startswith(NO_ROOM)


def _leave_server_that_can_only_be_read(context: Any) -> None:
    """Give up all connections to such a server, since new ones may lead to the new primary."""
    code = getattr(context.original_exception, "pgcode", None)
    if code == READ_ONLY:
        context.is_disconnect = True


def storable_text(text: str) -> str:
    """Replace characters that Postgres cannot store (NUL, lone surrogates) with question marks.

    The message about a damaged file may quote its bytes; it must not make the whole chunk fail.
    """
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "?")


def _may_succeed_later(error: BaseException) -> bool:
    if not isinstance(error, sa.exc.DBAPIError):
        return False
    code = sqlstate(error)
    if error.connection_invalidated or code in TRANSIENT_SQLSTATES:
        return True
    if code is None:
        return isinstance(error, sa.exc.OperationalError)
    return code.startswith(NO_ROOM)


def _is_undone(error: BaseException) -> bool:
    return isinstance(error, sa.exc.DBAPIError) and sqlstate(error) in CONFLICTS


_RETRYING = Retrying(
    retry=retry_if_exception(_may_succeed_later),
    wait=wait_random_exponential(multiplier=0.1, max=5),
    stop=stop_after_attempt(10),
    reraise=True,
)
_RETRYING_WHAT_IS_UNDONE = _RETRYING.copy(retry=retry_if_exception(_is_undone))


def _parse_url(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # whose texts may quote a part of the password
        raise ConnectionFailed(UNREADABLE_URL) from None
    if any("@" in part for part in (parsed.host or "", parsed.database or "", *parsed.query)):
        raise ConnectionFailed(UNREADABLE_URL)
    if parsed.drivername not in ("postgres", "postgresql", "postgresql+psycopg2"):
        raise ConnectionFailed(
            f"The database URL begins with {parsed.drivername}://; it has to be postgresql://."
        )
    return parsed.set(drivername="postgresql+psycopg2")
