"""Classifiers: register them, choose the current one, list them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from mernet.db.class_codes import all_class_codes
from mernet.db.engine import sqlstate, transaction
from mernet.db.errors import (
    ClassifierRefused,
    NoCurrentClassifier,
    NothingToRollBack,
    UnknownClassifier,
)
from mernet.db.republish import lock_thresholds_for_change, republish
from mernet.db.tables import classifier, promotion
from mernet.printable import quoted
from mernet.suggestions import did_you_mean

UNIQUE_VIOLATION = "23505"
ONE_PROMOTION_AT_A_TIME = "LOCK TABLE classifier IN SHARE ROW EXCLUSIVE MODE"

LATEST_PROMOTIONS = (
    sa.select(promotion.c.promotion_id, promotion.c.classifier)
    .where(promotion.c.undone_at.is_(None))
    .order_by(promotion.c.promotion_id.desc())
    .limit(2)
)

NOT_SCORED = sa.text("""
SELECT count(DISTINCT other.product_id)
FROM outcome AS other
WHERE other.state = 'classified' AND NOT EXISTS (
    SELECT FROM outcome JOIN classifier ON classifier.sha256 = outcome.classifier
    WHERE classifier.is_current
      AND outcome.product_id = other.product_id AND outcome.state = 'classified'
)
""")


@dataclass(frozen=True, slots=True)
class NewClassifier:
    """A checkpoint to register.

    Attributes:
        sha256: Hash of the checkpoint file, in hex.
        name: The name by which users choose it.
        path: Path or URL of the checkpoint file.
        threshold: The probability that a class has to exceed to be published.
        header: The checkpoint's own description, which has to be JSON.
    """

    sha256: str
    name: str
    path: str
    threshold: float
    header: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RegisteredClassifier:
    """A registered checkpoint.

    Attributes:
        sha256: Hash of the checkpoint file, in hex.
        name: The name by which users choose it.
        path: Path or URL of the checkpoint file.
        threshold: The probability that a class has to exceed to be published.
        header: The checkpoint's own description.
        added_at: When it was registered.
        is_current: Whether new runs use it and searches show its results.
        is_published: False if its published classes were pruned and only its scores are stored.
    """

    sha256: str
    name: str
    path: str
    threshold: float
    header: Mapping[str, Any]
    added_at: datetime
    is_current: bool
    is_published: bool


_COLUMNS = tuple(classifier.c[name] for name in RegisteredClassifier.__dataclass_fields__)


@transaction
def add(connection: sa.Connection, new: NewClassifier) -> RegisteredClassifier:
    """Register a checkpoint; if it is registered already, only its path is changed.

    Raises:
        ClassifierRefused: Another checkpoint has the name, or a value is out of range.
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
    return RegisteredClassifier(*row)


@transaction
def promote(connection: sa.Connection, name: str) -> RegisteredClassifier:
    """Make a classifier the current one: new runs use it, and searches show its results.

    If its published classes were pruned, they are published again from its scores.

    Raises:
        UnknownClassifier: No classifier has this name.
    """
    connection.exec_driver_sql(ONE_PROMOTION_AT_A_TIME)
    chosen = named(connection, name)
    if chosen.is_current:
        return chosen
    connection.execute(sa.insert(promotion).values(classifier=chosen.sha256))
    return _make_current(connection, chosen.sha256)


@transaction
def rollback(connection: sa.Connection) -> RegisteredClassifier:
    """Undo the last promotion that was not undone yet; return the classifier current before it.

    Raises:
        NoCurrentClassifier: No classifier is current.
        NothingToRollBack: No classifier was current before.
    """
    connection.exec_driver_sql(ONE_PROMOTION_AT_A_TIME)
    present = current_in(connection)
    latest = connection.execute(LATEST_PROMOTIONS).all()
    if len(latest) < 2:
        raise NothingToRollBack(f"No classifier was current before {present.name}.")
    undone, before = latest
    connection.execute(
        sa.update(promotion)
        .where(promotion.c.promotion_id == undone.promotion_id)
        .values(undone_at=sa.func.now())
    )
    return _make_current(connection, before.classifier)


@transaction
def count_not_scored(connection: sa.Connection) -> int:
    """Return how many images other classifiers have scored, but the current one has not."""
    count: int = connection.execute(NOT_SCORED).scalar_one()
    return count


@transaction
def list_all(connection: sa.Connection) -> list[RegisteredClassifier]:
    """Return all registered classifiers, the oldest first."""
    return _read_all(connection)


@transaction
def get(connection: sa.Connection, sha256: str) -> RegisteredClassifier:
    """Return the classifier with this hash.

    Raises:
        UnknownClassifier: There is none.
    """
    row = connection.execute(
        sa.select(*_COLUMNS).where(classifier.c.sha256 == sha256)
    ).one_or_none()
    if row is None:
        raise UnknownClassifier(
            f"No classifier with sha256 {sha256} is registered; register its checkpoint."
        )
    return RegisteredClassifier(*row)


@transaction
def current(connection: sa.Connection) -> RegisteredClassifier:
    """Return the current classifier.

    Raises:
        NoCurrentClassifier: None has been promoted yet.
    """
    return current_in(connection)


def current_in(connection: sa.Connection) -> RegisteredClassifier:
    """Return the current classifier as `current` does, inside an open transaction."""
    row = connection.execute(sa.select(*_COLUMNS).where(classifier.c.is_current)).one_or_none()
    if row is None:
        raise NoCurrentClassifier("No classifier is current; register a checkpoint and promote it.")
    return RegisteredClassifier(*row)


def named(connection: sa.Connection, name: str) -> RegisteredClassifier:
    """Return the classifier with this name, inside an open transaction.

    Raises:
        UnknownClassifier: There is none; the message lists the names.
    """
    known = _read_all(connection)
    for candidate in known:
        if candidate.name == name:
            return candidate
    names = [candidate.name for candidate in known]
    raise UnknownClassifier(
        f"No classifier is called {quoted(name)}{did_you_mean(name, names)} "
        f"Registered: {', '.join(names) or 'none'}."
    )


def named_or_current(connection: sa.Connection, name: str | None) -> RegisteredClassifier:
    """Return the classifier with this name, or the current one if the name is None."""
    return current_in(connection) if name is None else named(connection, name)


def _make_current(connection: sa.Connection, sha256: str) -> RegisteredClassifier:
    connection.execute(
        sa.update(classifier).values(is_current=False).where(classifier.c.is_current)
    )
    if not _read_one(connection, sha256).is_published:
        _publish_again(connection, sha256)
    connection.execute(
        sa.update(classifier).where(classifier.c.sha256 == sha256).values(is_current=True)
    )
    return _read_one(connection, sha256)


def _publish_again(connection: sa.Connection, sha256: str) -> None:
    lock_thresholds_for_change(connection)
    connection.execute(
        sa.update(classifier).where(classifier.c.sha256 == sha256).values(is_published=True)
    )
    republish(connection, sha256, all_class_codes(connection))


def _read_one(connection: sa.Connection, sha256: str) -> RegisteredClassifier:
    row = connection.execute(sa.select(*_COLUMNS).where(classifier.c.sha256 == sha256)).one()
    return RegisteredClassifier(*row)


def _read_all(connection: sa.Connection) -> list[RegisteredClassifier]:
    rows = connection.execute(sa.select(*_COLUMNS).order_by(classifier.c.added_at))
    return [RegisteredClassifier(*row) for row in rows]


def _why_refused(error: sa.exc.IntegrityError, new: NewClassifier) -> str:
    if sqlstate(error) == UNIQUE_VIOLATION:
        return f"Another checkpoint is already called {quoted(new.name)}; choose another name."
    return (
        f"The classifier {quoted(new.name)} cannot be registered: its sha256 needs 64 lower-case "
        f"hex digits, its threshold ({new.threshold}) has to lie between 0 and 1, and its name and "
        "path must not be empty."
    )
