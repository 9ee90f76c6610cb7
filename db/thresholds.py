"""Thresholds of single classes; changing one publishes and withdraws rows."""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from mernet.db import classifiers
from mernet.db.class_codes import class_codes
from mernet.db.engine import transaction
from mernet.db.errors import ThresholdRefused
from mernet.db.republish import lock_thresholds_for_change, republish
from mernet.db.tables import class_threshold

IN_FORCE = sa.text("""
SELECT class_threshold.threshold, classifier.threshold AS default_threshold
FROM classifier LEFT JOIN class_threshold
    ON class_threshold.classifier = classifier.sha256 AND class_threshold.class = :code
WHERE classifier.sha256 = :classifier
""")


@dataclass(frozen=True, slots=True)
class Republished:
    """The result of changing a threshold.

    Attributes:
        classifier: The classifier's name.
        code: The class.
        before: The threshold before the change.
        now: The threshold since the change.
        added: Number of rows published because of it.
        withdrawn: Number of rows withdrawn because of it.
    """

    classifier: str
    code: str
    before: float
    now: float
    added: int
    withdrawn: int


@transaction
def set_threshold(
    connection: sa.Connection, class_: str, threshold: float, classifier: str | None = None
) -> Republished:
    """Set the threshold of a class, and publish what was scored before accordingly.

    Publishers wait until the change is committed, and the other way round.

    Args:
        connection: The function's own transaction; callers pass the engine.
        class_: Code or name of the class.
        threshold: Scores have to exceed it to be published. It is rounded to `real`, the type in
            which scores are stored. The classifier's own threshold removes the class's.
        classifier: The classifier's name; None for the current one.

    Raises:
        ThresholdRefused: The threshold is not between 0 and 1, both excluded, as a `real`.
        QueryRefused: There is no such class.
        UnknownClassifier: No classifier has this name, or none is current.
    """
    rounded = _round_to_real(threshold)
    chosen = classifiers.named_or_current(connection, classifier)
    (code,) = class_codes(connection, [class_])
    lock_thresholds_for_change(connection)
    before = connection.execute(IN_FORCE, {"classifier": chosen.sha256, "code": code}).one()
    is_default = rounded == _round_to_real(before.default_threshold)
    _store(connection, chosen.sha256, code, rounded, is_default)
    added, withdrawn = republish(connection, chosen.sha256, [code])
    return Republished(
        classifier=chosen.name,
        code=code,
        before=before.default_threshold if before.threshold is None else before.threshold,
        now=threshold,
        added=added,
        withdrawn=withdrawn,
    )


@transaction
def class_thresholds(connection: sa.Connection) -> Mapping[str, Mapping[str, float]]:
    """Return the thresholds of single classes by the classifier's sha256 and the class's code.

    Classes are in the order of the chain; classifiers without such a threshold are absent.
    """
    rows = connection.execute(
        sa.text("""
            SELECT classifier, class, threshold
            FROM class_threshold JOIN image_class ON code = class ORDER BY position
        """)
    )
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        found.setdefault(row.classifier, {})[row[1]] = row.threshold
    return found


def _store(
    connection: sa.Connection, sha256: str, code: str, threshold: float, is_default: bool
) -> None:
    """Store a threshold if it differs from the classifier's own, else delete the class's."""
    if is_default:
        connection.execute(
            sa.delete(class_threshold).where(
                class_threshold.c.classifier == sha256, class_threshold.c["class"] == code
            )
        )
        return
    statement = insert(class_threshold).values(
        {"classifier": sha256, "class": code, "threshold": threshold}
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["classifier", "class"], set_={"threshold": threshold}
        )
    )


def _round_to_real(threshold: float) -> float:
    rounded = array("f", [threshold])[0]
    if not 0 < rounded < 1:
        raise ThresholdRefused(
            f"A threshold lies between 0 and 1, both excluded; {threshold} does not. Scores are "
            "stored in single precision, and the threshold is rounded to it."
        )
    return rounded
