"""Two classifiers compared by what they publish of the images that both have scored."""

from dataclasses import dataclass

import sqlalchemy as sa

from mernet.db import classifiers
from mernet.db.classifiers import RegisteredClassifier
from mernet.db.engine import transaction
from mernet.db.errors import QueryRefused
from mernet.db.image_classes import all_codes, codes

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

# Every class of an image that either publishes, over the images that both have scored.
SHOWN = """
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
{SHOWN}
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
{SHOWN}
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
    """How many of the images show a class before and after, and how many gained and lost it."""

    code: str
    name: str
    before: int
    after: int
    gained: int
    lost: int


@dataclass(frozen=True, slots=True)
class ImageChange:
    """The codes of the classes that an image gained and lost, in chain order."""

    product_id: str
    gained: tuple[str, ...]
    lost: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What becomes of the published classes when `after` takes the place of `before`.

    `both` images were scored by both; only these count in `classes` (chain order) and `images`
    (most changes first). The others were scored by one: they failed under the other, or were
    never given to it.
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
) -> Comparison:
    """Compare two classifiers, given by name, in `classes` (codes or names; none means all 25).

    At most `limit` changed images are named. Raises `UnknownClassifier`, and `QueryRefused` for an
    unknown class, the same classifier twice, or one of which only the scores are kept.
    """
    old, new = _published(connection, before), _published(connection, after)
    if old == new:
        raise QueryRefused(f"{before} is one classifier; give two to compare.")
    wanted = codes(connection, classes) or all_codes(connection)
    key = {"before": old.sha256, "after": new.sha256, "codes": wanted}
    images = connection.execute(BY_IMAGE, key | {"limit": limit})
    return Comparison(
        before=old,
        after=new,
        **connection.execute(IMAGES, key).one()._asdict(),
        classes=tuple(ClassChange(*row) for row in connection.execute(BY_CLASS, key)),
        images=tuple(
            ImageChange(row.product_id, tuple(row.gained or ()), tuple(row.lost or ()))
            for row in images
        ),
    )


def _published(connection: sa.Connection, name: str) -> RegisteredClassifier:
    found = classifiers.named(connection, name)
    if not found.is_published:
        raise QueryRefused(
            f"The classes of {name} were pruned, only its scores are kept; `mernet classifier "
            f"promote {name}` publishes them again."
        )
    return found
