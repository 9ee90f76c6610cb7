"""The connection to Postgres, and transactions that are tried again when they may succeed."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from mernet.db.errors import ConnectionFailed

OLDEST_SERVER = 15
PASSING = ("40P01", "40001", "57P01", "57P02", "57P03")
"""SQLSTATEs of a deadlock, a serialization failure, a server that stops, crashed, is starting."""

# A network that fails in silence leaves both ends waiting: by itself, Linux gives up a connection
# after a quarter of an hour where something was sent, after two hours where nothing was, and all
# the while a client holds its locks. Times in seconds, those that end in `timeout` in milliseconds.
CLIENT_PATIENCE = {"keepalives_idle": 30, "keepalives_interval": 10, "tcp_user_timeout": 30_000}
SESSION = {
    "timezone": "UTC",
    "idle_in_transaction_session_timeout": 60_000,
    "tcp_keepalives_idle": 30,
    "tcp_keepalives_interval": 10,
    "tcp_user_timeout": 30_000,
}

P = ParamSpec("P")
T = TypeVar("T")


def connect(url: str) -> sa.Engine:
    """An engine for `url` (postgresql://user:password@host/database), tried once.

    Raises `ConnectionFailed` when the URL is malformed or not Postgres, when the server does not
    answer within ten seconds, or is older than Postgres 15.
    """
    engine = sa.create_engine(
        _checked(url),
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": 10,
            "application_name": "mernet",
            "options": " ".join(f"-c {name}={value}" for name, value in SESSION.items()),
            **CLIENT_PATIENCE,
        },
    )
    sa.event.listen(engine, "do_execute", _copy)
    try:
        with engine.connect() as connection:
            version = connection.exec_driver_sql("SHOW server_version_num").scalar_one()
    except sa.exc.OperationalError as error:
        where = engine.url.render_as_string(hide_password=True)
        raise ConnectionFailed(
            f"No database at {where} ({first_line(error)}); start the server or correct "
            "MERNET_DATABASE_URL."
        ) from error
    if int(version) < OLDEST_SERVER * 10_000:
        raise ConnectionFailed(
            f"The server is Postgres {int(version) // 10_000}; use {OLDEST_SERVER} or a newer one."
        )
    return engine


def transaction(
    work: Callable[Concatenate[sa.Connection, P], T],
) -> Callable[Concatenate[sa.Engine, P], T]:
    """Give `work` a transaction of its own: called with an engine, it runs with a connection.

    It is run again, up to ten times, after a deadlock, a serialization failure or a lost
    connection, so its effect has to be safe to repeat. Then, after about twenty seconds where the
    server refuses and two or three minutes where the network is silent, `ConnectionFailed` is
    raised.
    """

    @wraps(work)
    def run(engine: sa.Engine, /, *args: P.args, **kwargs: P.kwargs) -> T:
        def attempt() -> T:
            with engine.begin() as connection:
                return work(connection, *args, **kwargs)

        try:
            return _RETRYING(attempt)
        except sa.exc.OperationalError as error:
            raise ConnectionFailed(
                f"The database gave up ({first_line(error)}); see that it runs, then try again."
            ) from error

    return run


def sqlstate(error: sa.exc.DBAPIError) -> str | None:
    """The five-character code the server gave, None when no server answered."""
    code: str | None = getattr(error.orig, "pgcode", None)
    return code


def first_line(error: sa.exc.DBAPIError) -> str:
    """What the server or driver said, without SQL and hints."""
    return str(error.orig).strip().partition("\n")[0]


def _copy(cursor: Any, statement: str, _parameters: object, context: Any) -> bool:
    """Run a COPY from the file in the statement's execution option `copy_from`.

    Other statements are left to SQLAlchemy; being run by it, a COPY has the same errors as they.
    """
    source = context.execution_options.get("copy_from")
    if source is None:
        return False
    cursor.copy_expert(statement, source)
    return True


def _may_succeed_later(error: BaseException) -> bool:
    if not isinstance(error, sa.exc.DBAPIError):
        return False
    if error.connection_invalidated or sqlstate(error) in PASSING:
        return True
    return isinstance(error, sa.exc.OperationalError) and sqlstate(error) is None


_RETRYING = Retrying(
    retry=retry_if_exception(_may_succeed_later),
    wait=wait_random_exponential(multiplier=0.1, max=5),
    stop=stop_after_attempt(10),
    reraise=True,
)


def _checked(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise ConnectionFailed(
            "The database URL cannot be read; write it as postgresql://user:password@host/database."
        ) from error
    if parsed.drivername not in ("postgres", "postgresql", "postgresql+psycopg2"):
        raise ConnectionFailed(
            f"The database URL begins with {parsed.drivername}://; it has to be postgresql://."
        )
    return parsed.set(drivername="postgresql+psycopg2")
