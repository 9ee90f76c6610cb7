"""Thresholds of single classes, and what changing one publishes and withdraws."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from mernet.db import classifiers
from mernet.db.engine import transaction
from mernet.db.errors import ThresholdRefused
from mernet.db.image_classes import codes
from mernet.db.republish import keep_publishers_away, republish
from mernet.db.tables import class_threshold

IN_FORCE = sa.text("""
SELECT class_threshold.threshold, classifier.threshold AS default_threshold
FROM classifier LEFT JOIN class_threshold
    ON class_threshold.classifier = classifier.sha256 AND class_threshold.class = :code
WHERE classifier.sha256 = :classifier
""")


@dataclass(frozen=True, slots=True)
class Republished:
    """A class's threshold under a classifier before and now, and the published rows it cost."""

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
    """Publish `class_` (code or name) above `threshold` from now on, and so what is scored already.

    The threshold is rounded to `real`, in which scores are stored, and a score has to exceed it.
    The classifier's own threshold makes the class an ordinary one again. `classifier` is a name,
    by default the current one's. Publishers wait until the change is committed, and the other way
    round.

    Raises `ThresholdRefused` unless 0 < threshold < 1 as a `real`; `QueryRefused` for an unknown
    class; `UnknownClassifier`.
    """
    rounded = _real(threshold)
    chosen = classifiers.named_or_current(connection, classifier)
    (code,) = codes(connection, [class_])
    keep_publishers_away(connection)
    before = connection.execute(IN_FORCE, {"classifier": chosen.sha256, "code": code}).one()
    _write(connection, chosen.sha256, code, rounded, rounded == _real(before.default_threshold))
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
def of_classes(connection: sa.Connection) -> Mapping[str, Mapping[str, float]]:
    """The thresholds of single classes: by the classifier's sha256, then by class, in chain order.

    Classifiers without one are absent.
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


def _write(
    connection: sa.Connection, sha256: str, code: str, threshold: float, is_default: bool
) -> None:
    """Keep what deviates from the classifier's own threshold, and nothing else."""
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


def _real(threshold: float) -> float:
    rounded = float(np.float32(threshold))
    if not 0 < rounded < 1:
        raise ThresholdRefused(
            f"A threshold lies between 0 and 1, both excluded; {threshold} does not. Scores are "
            "stored in single precision, and the threshold is rounded to it."
        )
    return rounded
