"""Comparison of two classifiers by the classes that they publish of the same images."""

from dataclasses import dataclass

import sqlalchemy as sa

from mernet.db import classifiers
from mernet.db.class_codes import all_class_codes, class_codes
from mernet.db.classifiers import RegisteredClassifier
from mernet.db.engine import transaction
from mernet.db.errors import ClassesPruned, QueryRefused

IMAGES = sa.text("""
SELECT
    count(*) FILTER (WHERE in_both) AS both,
    count(*) FILTER (WHERE NOT in_both AND classifier = :before) AS only_before,
    count(*) FILTER (WHERE NOT in_both AND classifier = :after) AS only_after
FROM (
    SELECT min(classifier) AS classifier, count(*) = 2 AS in_both
    FROM outcome
    WHERE classifier IN (:before, :after) AND state = 'classified'
    GROUP BY product_id
) AS image
""")

# Every class that either classifier publishes of an image that both have scored.
SHOWN_CLASSES = """
WITH image AS (
    SELECT product_id FROM outcome AS old JOIN outcome AS new USING (product_id)
    WHERE old.classifier = :before AND old.state = 'classified'
      AND new.classifier = :after AND new.state = 'classified'
),
shown AS (
    SELECT
        classification.product_id, classification.class,
        bool_or(classification.classifier = :before) AS before,
        bool_or(classification.classifier = :after) AS after
    FROM classification JOIN image USING (product_id)
    WHERE classification.classifier IN (:before, :after) AND classification.class = ANY (:codes)
    GROUP BY classification.product_id, classification.class
)
"""
BY_CLASS = sa.text(f"""
{SHOWN_CLASSES}
SELECT
    image_class.code, image_class.name,
    count(*) FILTER (WHERE shown.before) AS before,
    count(*) FILTER (WHERE shown.after) AS after,
    count(*) FILTER (WHERE shown.after AND NOT shown.before) AS gained,
    count(*) FILTER (WHERE shown.before AND NOT shown.after) AS lost
FROM image_class LEFT JOIN shown ON shown.class = image_class.code
WHERE image_class.code = ANY (:codes)
GROUP BY image_class.code ORDER BY image_class.position
""")
BY_IMAGE = sa.text(f"""
{SHOWN_CLASSES}
SELECT
    shown.product_id,
    array_agg(shown.class ORDER BY image_class.position) FILTER (WHERE shown.after) AS gained,
    array_agg(shown.class ORDER BY image_class.position) FILTER (WHERE shown.before) AS lost
FROM shown JOIN image_class ON image_class.code = shown.class
WHERE shown.before <> shown.after
GROUP BY shown.product_id
ORDER BY count(*) DESC, shown.product_id
LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class ClassChange:
    """Number of images that show a class before and after, and of those that gained and lost it."""

    code: str
    name: str
    before: int
    after: int
    gained: int
    lost: int


@dataclass(frozen=True, slots=True)
class ImageChange:
    """Codes of the classes that an image gained and lost, in the order of the chain."""

    product_id: str
    gained: tuple[str, ...]
    lost: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClassifierComparison:
    """The differences between two classifiers.

    Attributes:
        before: The first classifier.
        after: The second classifier.
        both: Number of images that both scored; only these count in `classes` and `images`.
        only_before: Number of images that only the first scored; under the other they failed, or it
            never got them.
        only_after: Number of images that only the second scored.
        classes: Differences by class, in the order of the chain.
        images: Images that gained or lost classes, those with the most differences first.
    """

    before: RegisteredClassifier
    after: RegisteredClassifier
    both: int
    only_before: int
    only_after: int
    classes: tuple[ClassChange, ...]
    images: tuple[ImageChange, ...]


@transaction
def compare(
    connection: sa.Connection,
    before: str,
    after: str,
    classes: tuple[str, ...] = (),
    limit: int = 20,
) -> ClassifierComparison:
    """Compare two classifiers.

    Args:
        connection: The function's own transaction; callers pass the engine.
        before: Name of the first classifier.
        after: Name of the second classifier.
        classes: Codes or names of the classes to compare; all 25 if empty.
        limit: The largest number of images to name.

    Raises:
        UnknownClassifier: No classifier has this name.
        QueryRefused: There is no such class, or both classifiers are the same.
        ClassesPruned: The published classes of a classifier were pruned.
    """
    old, new = _require_published(connection, before), _require_published(connection, after)
    if old == new:
        raise QueryRefused(f"{before} cannot be compared with itself; give two classifiers.")
    wanted = class_codes(connection, classes) or all_class_codes(connection)
    key = {"before": old.sha256, "after": new.sha256, "codes": wanted}
    images = connection.execute(BY_IMAGE, key | {"limit": limit})
    return ClassifierComparison(
        before=old,
        after=new,
        **connection.execute(IMAGES, key).one()._asdict(),
        classes=tuple(ClassChange(*row) for row in connection.execute(BY_CLASS, key)),
        images=tuple(
            ImageChange(row.product_id, tuple(row.gained or ()), tuple(row.lost or ()))
            for row in images
        ),
    )


def _require_published(connection: sa.Connection, name: str) -> RegisteredClassifier:
    found = classifiers.named(connection, name)
    if not found.is_published:
        raise ClassesPruned(
            f"The published classes of {name} were pruned; promote it to publish them again from "
            "its scores."
        )
    return found
