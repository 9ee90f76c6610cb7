"""The registered classifiers, and which of them is the current one."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from db.engine import sqlstate, transaction
from db.errors import ClassifierRefused, UnknownClassifier
from db.tables import classifier

UNIQUE_VIOLATION = "23505"


@dataclass(frozen=True, slots=True)
class NewClassifier:
    """A checkpoint to register: sha256 of its file (hex), a name, where it is, what it says.

    `threshold` is the probability that a class has to exceed to be published; `header` is the
    checkpoint's own description, which has to be JSON.
    """

    sha256: str
    name: str
    path: str
    threshold: float
    header: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Classifier:
    """A registered checkpoint."""

    sha256: str
    name: str
    path: str
    threshold: float
    header: Mapping[str, Any]
    added_at: datetime
    is_current: bool


_COLUMNS = tuple(classifier.c[name] for name in Classifier.__dataclass_fields__)


@transaction
def add(connection: sa.Connection, new: NewClassifier) -> Classifier:
    """Register `new`; the same checkpoint again changes nothing but where its file is.

    Raises `ClassifierRefused` when another checkpoint has the name, or a value is out of range.
    """
    values = {name: getattr(new, name) for name in NewClassifier.__dataclass_fields__}
    statement = insert(classifier).values(values | {"header": dict(new.header)})
    try:
        row = connection.execute(
            statement.on_conflict_do_update(
                index_elements=["sha256"], set_={"path": statement.excluded.path}
            ).returning(*_COLUMNS)
        ).one()
    except sa.exc.IntegrityError as error:
        raise ClassifierRefused(_why_refused(error, new)) from error
    return Classifier(*row)


@transaction
def promote(connection: sa.Connection, name: str) -> Classifier:
    """Make the classifier called `name` the one that new runs use and searches see."""
    connection.exec_driver_sql("LOCK TABLE classifier IN SHARE ROW EXCLUSIVE MODE")
    chosen = _named(connection, name)
    connection.execute(
        sa.update(classifier).values(is_current=False).where(classifier.c.is_current)
    )
    row = connection.execute(
        sa.update(classifier)
        .where(classifier.c.sha256 == chosen.sha256)
        .values(is_current=True)
        .returning(*_COLUMNS)
    ).one()
    return Classifier(*row)


@transaction
def list_all(connection: sa.Connection) -> list[Classifier]:
    """Every registered classifier, oldest first."""
    return _all(connection)


@transaction
def get(connection: sa.Connection, sha256: str) -> Classifier:
    """The classifier with this hash; raises `UnknownClassifier`."""
    row = connection.execute(
        sa.select(*_COLUMNS).where(classifier.c.sha256 == sha256)
    ).one_or_none()
    if row is None:
        raise UnknownClassifier(
            f"No classifier with sha256 {sha256} is known; add it with `mernet classifier add`."
        )
    return Classifier(*row)


@transaction
def current(connection: sa.Connection) -> Classifier:
    """The current classifier; raises `UnknownClassifier` when none was promoted yet."""
    return current_in(connection)


def current_in(connection: sa.Connection) -> Classifier:
    """`current`, inside a transaction that is open."""
    row = connection.execute(sa.select(*_COLUMNS).where(classifier.c.is_current)).one_or_none()
    if row is None:
        raise UnknownClassifier(
            "No classifier is current; register one with `mernet classifier add FILE --promote`, "
            "or make the demo's with `mernet demo`."
        )
    return Classifier(*row)


def _all(connection: sa.Connection) -> list[Classifier]:
    rows = connection.execute(sa.select(*_COLUMNS).order_by(classifier.c.added_at))
    return [Classifier(*row) for row in rows]


def _named(connection: sa.Connection, name: str) -> Classifier:
    known = _all(connection)
    for candidate in known:
        if candidate.name == name:
            return candidate
    names = ", ".join(candidate.name for candidate in known) or "none"
    raise UnknownClassifier(f"No classifier is called {name!r}; registered: {names}.")


def _why_refused(error: sa.exc.IntegrityError, new: NewClassifier) -> str:
    if sqlstate(error) == UNIQUE_VIOLATION:
        return f"Another checkpoint is already called {new.name!r}; choose another name."
    return (
        f"The classifier {new.name!r} cannot be registered: its sha256 needs 64 lower-case hex "
        f"digits, its threshold ({new.threshold}) has to lie between 0 and 1, and its name and "
        "path must not be empty."
    )
