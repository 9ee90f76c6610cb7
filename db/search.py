"""Searches the published table: products by class, images for each class, scores of a product."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from mernet.db import classifiers
from mernet.db.class_codes import class_codes
from mernet.db.engine import transaction
from mernet.db.errors import (
    NoScores,
    NotClassified,
    ProductFailed,
    QueryRefused,
    UnknownProduct,
)
from mernet.db.tables import product
from mernet.printable import quoted
from mernet.suggestions import did_you_mean

LARGEST_PAGE = 1000
LARGEST_SOL = 2**31 - 1
"""The largest value of the column."""

# Reads the first class in the order of the index `classification_search` until the page is full;
# the other conditions are checked by key, product by product. Probabilities are compared as `real`,
# the type in which they are stored.
_SEARCH = """
SELECT
    hit.product_id, hit.confidence, hit.rover, hit.sol, hit.site, hit.drive, hit.start_time,
    hit.local_solar_time, hit.image_url, hit.browse_url, hit.classifier, hit.missing_share,
    asked.probabilities
FROM {view} AS hit
CROSS JOIN LATERAL (
    SELECT jsonb_object_agg(class, probability) AS probabilities, count(*) AS present
    FROM classification
    WHERE product_id = hit.product_id
      AND classifier = (SELECT sha256 FROM classifier WHERE is_current)
      AND class = ANY (:classes)
      AND probability >= CAST(:min_probability AS real)
) AS asked
WHERE hit.class = :first_class
  AND hit.confidence >= CAST(:min_probability AS real)
  AND asked.present = cardinality(:classes)
  AND NOT EXISTS (
    SELECT FROM classification
    WHERE product_id = hit.product_id
      AND classifier = (SELECT sha256 FROM classifier WHERE is_current)
      AND class = ANY (:without)
  )
  AND (CAST(:rover AS text) IS NULL OR lower(hit.rover) = lower(:rover))
  AND (CAST(:first_sol AS integer) IS NULL OR hit.sol >= :first_sol)
  AND (CAST(:last_sol AS integer) IS NULL OR hit.sol <= :last_sol)
  AND (
    CAST(:after_id AS text) IS NULL
    OR (
        hit.confidence <= CAST(:after_probability AS real)
        AND (hit.confidence < CAST(:after_probability AS real) OR hit.product_id > :after_id)
    )
  )
ORDER BY hit.confidence DESC, hit.product_id
LIMIT :limit
"""

_CLASS_COUNTS = """
SELECT image_class.code, image_class.name, count(hit.product_id) AS images
FROM image_class LEFT JOIN {view} AS hit ON hit.class = image_class.code
GROUP BY image_class.code ORDER BY image_class.position
"""

_VIEWS = {False: "shown_classification", True: "own_search"}
"""The view to search: the one below the Atlas's, or that of the images in folders."""

SEARCH, CLASS_COUNTS = (
    {own: sa.text(sql.format(view=view)) for own, view in _VIEWS.items()}
    for sql in (_SEARCH, _CLASS_COUNTS)
)

SCORES = sa.text("""
SELECT
    image_class.code, image_class.name,
    outcome.scores[image_class.position] AS probability,
    classification.product_id IS NOT NULL AS published
FROM outcome
CROSS JOIN image_class
LEFT JOIN classification
    ON classification.product_id = outcome.product_id
    AND classification.classifier = outcome.classifier
    AND classification.class = image_class.code
WHERE outcome.product_id = :product_id AND outcome.classifier = :classifier
ORDER BY image_class.position
""")

MISSING_SHARE = sa.text("""
SELECT missing_share FROM outcome WHERE product_id = :product_id AND classifier = :classifier
""")

EARLIER_OUTCOMES = sa.text("""
SELECT
    history.replaced_at, history.replaced_by, history.cause, history.run_id, history.finished_at,
    history.state, history.reason, history.detail,
    CASE WHEN history.scores IS NOT NULL THEN (
        SELECT jsonb_object_agg(code, history.scores[position]) FROM image_class
    ) END AS probabilities
FROM outcome_history AS history
WHERE history.product_id = :product_id AND history.classifier = :classifier
ORDER BY history.history_id DESC
""")

IMAGE_URL = sa.text("SELECT image_url FROM product WHERE product_id = :product_id")

EARLIER_PLACES = sa.text("""
SELECT changed_at, cause, image_url, withdrawn_at FROM product_history
WHERE product_id = :product_id ORDER BY history_id DESC
""")

SAME_EXPOSURE = sa.text("""
SELECT other.product_id, other.collection, outcome.state
FROM product JOIN product AS other USING (exposure_key)
LEFT JOIN outcome ON outcome.product_id = other.product_id AND outcome.classifier = :classifier
WHERE product.product_id = :product_id AND other.product_id <> product.product_id
  AND other.withdrawn_at IS NULL
ORDER BY other.preference, other.first_listed_at, other.product_id DESC
""")

FAILURE = sa.text("""
SELECT outcome.reason, outcome.detail
FROM product LEFT JOIN outcome
    ON outcome.product_id = product.product_id AND outcome.classifier = :classifier
WHERE product.product_id = :product_id
""")


@dataclass(frozen=True, slots=True)
class Place:
    """The position of a page's last hit.

    Attributes:
        probability: The hit's probability of the first class.
        product_id: The hit's product.
    """

    probability: float
    product_id: str


@dataclass(frozen=True, slots=True)
class Query:
    """A search for products; those with the highest probability of the first class come first.

    Attributes:
        classes: Codes or names of classes, in any case; a product has to show all of them.
        without: Codes or names of classes of which a product shows none.
        rover: The rover's name, in any case; None for all.
        sols: First and last sol, both included; None leaves an end open.
        min_probability: The lowest probability of each of `classes`.
        limit: The largest number of hits on the page.
        after: The end of the page before; None for the first page.
        own: Search the images in folders instead of those that the Atlas shows.
    """

    classes: tuple[str, ...]
    without: tuple[str, ...] = ()
    rover: str | None = None
    sols: tuple[int | None, int | None] = (None, None)
    min_probability: float = 0.0
    limit: int = 50
    after: Place | None = None
    own: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """A product that was found.

    Attributes:
        product_id: The product's 27-character name.
        probabilities: The published probability of each class that was searched for, by code.
        rover: As in `ProductRow`, like the rest.
        sol: The Martian day.
        site: The site.
        drive: The drive.
        start_time: When the image was taken.
        local_solar_time: The local true solar time.
        image_url: URL of the image file.
        browse_url: URL of the archive's 8-bit picture.
        classifier: Name of the classifier that published the probabilities.
        missing_share: Share of the image's pixels that were not received, 0 to 1; None if unknown.
    """

    product_id: str
    probabilities: Mapping[str, float]
    rover: str
    sol: int | None
    site: int | None
    drive: int | None
    start_time: datetime | None
    local_solar_time: str | None
    image_url: str
    browse_url: str | None
    classifier: str
    missing_share: float | None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of hits; `next` is the position to continue from, None for the last page."""

    hits: tuple[Hit, ...]
    next: Place | None


@dataclass(frozen=True, slots=True)
class ImageCount:
    """Number of images that show a class."""

    code: str
    name: str
    images: int


@dataclass(frozen=True, slots=True)
class Score:
    """The calibrated probability of one class in a product, and whether it is published."""

    code: str
    name: str
    probability: float
    published: bool


@dataclass(frozen=True, slots=True)
class EarlierOutcome:
    """An outcome that was replaced.

    Attributes:
        replaced_at: When.
        replaced_by: The run that replaced it, None if none did.
        cause: Why.
        run_id: The run that it was from.
        finished_at: When that run published it.
        state: 'classified' or 'failed'.
        reason: Why the product had failed, in a few words; None if it was classified.
        detail: The same as a sentence.
        probabilities: The probability of each of the 25 classes, by code; None if it had failed.
    """

    replaced_at: datetime
    replaced_by: int | None
    cause: str
    run_id: int
    finished_at: datetime
    state: str
    reason: str | None
    detail: str | None
    probabilities: Mapping[str, float] | None


@dataclass(frozen=True, slots=True)
class EarlierPlace:
    """Where a product was before its listing changed.

    Attributes:
        changed_at: When it changed.
        cause: Why.
        image_url: Where the image was.
        withdrawn_at: When its archive had withdrawn it, None if it had not.
    """

    changed_at: datetime
    cause: str
    image_url: str
    withdrawn_at: datetime | None


@dataclass(frozen=True, slots=True)
class SameExposure:
    """Another product of the same exposure.

    Attributes:
        product_id: Its 27-character name.
        collection: 'archive' or 'own'.
        state: 'classified' or 'failed' under the current classifier, None without an outcome.
    """

    product_id: str
    collection: str
    state: str | None


@dataclass(frozen=True, slots=True)
class Background:
    """What is known of a product besides its scores, under the current classifier.

    Attributes:
        missing_share: As in `Hit`.
        earlier: The outcomes that were replaced, the latest first.
        same_exposure: The other products of its exposure, those that a search prefers first.
        image_url: URL of the image file; None if no product has this name.
        earlier_places: What its listing was before it changed, the latest first.
    """

    missing_share: float | None
    earlier: tuple[EarlierOutcome, ...]
    same_exposure: tuple[SameExposure, ...]
    image_url: str | None
    earlier_places: tuple[EarlierPlace, ...]


@transaction
def search(connection: sa.Connection, query: Query) -> Page:
    """Return a page of products under the current classifier.

    Of each exposure, one product is a hit: an archive's before a folder's, the larger image first,
    raw before derived, then by type and version. Following `next` visits every hit once, unless
    something is published meanwhile.

    Raises:
        QueryRefused: No class is given, a class or rover is unknown, or a value is out of range.
        NoCurrentClassifier: No classifier is current.
    """
    classifiers.current_in(connection)
    classes = class_codes(connection, query.classes)
    if not classes:
        raise QueryRefused("Name at least one class to search for, such as sky.")
    rows = connection.execute(
        SEARCH[query.own],
        _checked_parameters(query)
        | {
            "classes": classes,
            "first_class": classes[0],
            "without": class_codes(connection, query.without),
        },
    ).all()
    if not rows and query.rover is not None:
        _require_known_rover(connection, query.rover)
    hits = tuple(_to_hit(row) for row in rows[: query.limit])
    if len(rows) <= query.limit:
        return Page(hits, None)
    last = rows[query.limit - 1]
    return Page(hits, Place(last.confidence, last.product_id))


def search_pages(engine: sa.Engine, query: Query, wanted: int | None) -> Page:
    """Return the first `wanted` hits, or all of them, as one page.

    They are read in pages of `LARGEST_PAGE`, each in a transaction of its own; `query.limit` is not
    used.

    Raises:
        QueryRefused, NoCurrentClassifier: As `search` does.
    """
    hits: list[Hit] = []
    while True:
        size = LARGEST_PAGE if wanted is None else min(wanted - len(hits), LARGEST_PAGE)
        page = search(engine, replace(query, limit=size))
        hits += page.hits
        if page.next is None or len(hits) == wanted:
            return Page(tuple(hits), page.next)
        query = replace(query, after=page.next)


@transaction
def class_counts(connection: sa.Connection, own: bool = False) -> list[ImageCount]:
    """Count the images that show each of the 25 classes, in the order of the chain.

    Args:
        connection: The function's own transaction; callers pass the engine.
        own: Count the images in folders instead of those that the Atlas shows.

    Raises:
        NoCurrentClassifier: No classifier is current.
    """
    classifiers.current_in(connection)
    return [ImageCount(*row) for row in connection.execute(CLASS_COUNTS[own])]


@transaction
def scores_of(connection: sa.Connection, product_id: str) -> list[Score]:
    """Return the 25 scores of a product under the current classifier, in the order of the chain.

    Raises:
        NoScores: The product was never listed (`UnknownProduct`), has no outcome yet
            (`NotClassified`), or failed (`ProductFailed`).
        NoCurrentClassifier: No classifier is current.
    """
    key = {
        "product_id": product_id.upper(),
        "classifier": classifiers.current_in(connection).sha256,
    }
    scores = [Score(*row) for row in connection.execute(SCORES, key)]
    if not scores or scores[0].probability is None:
        raise _why_no_scores(connection, key)
    return scores


@transaction
def background(connection: sa.Connection, product_id: str) -> Background:
    """Return what is known of a product besides its scores; also if it has none.

    Raises:
        NoCurrentClassifier: No classifier is current.
    """
    key = {
        "product_id": product_id.upper(),
        "classifier": classifiers.current_in(connection).sha256,
    }
    return Background(
        missing_share=connection.scalar(MISSING_SHARE, key),
        earlier=tuple(EarlierOutcome(*row) for row in connection.execute(EARLIER_OUTCOMES, key)),
        same_exposure=tuple(SameExposure(*row) for row in connection.execute(SAME_EXPOSURE, key)),
        image_url=connection.scalar(IMAGE_URL, key),
        earlier_places=tuple(EarlierPlace(*row) for row in connection.execute(EARLIER_PLACES, key)),
    )


def _why_no_scores(connection: sa.Connection, key: Mapping[str, str]) -> NoScores:
    product_id = key["product_id"]
    found = connection.execute(FAILURE, key).one_or_none()
    if found is None:
        return UnknownProduct(
            f"No product {product_id} was ever listed; check the name's 27 characters."
        )
    if found.reason is None:
        return NotClassified(f"{product_id} is listed, but not classified yet; wait for its run.")
    return ProductFailed(
        f"{product_id} failed ({found.reason}: {found.detail}); retry the failed products."
    )


def _require_known_rover(connection: sa.Connection, wanted: str) -> None:
    rovers = connection.execute(sa.select(product.c.rover).distinct().order_by("rover")).scalars()
    known = list(rovers)
    if wanted.lower() not in map(str.lower, known):
        raise QueryRefused(
            f"No product of a rover {quoted(wanted)} is listed{did_you_mean(wanted, known)} "
            f"Listed are: {', '.join(known) or 'none'}."
        )


def _checked_parameters(query: Query) -> dict[str, object]:
    if not 1 <= query.limit <= LARGEST_PAGE:
        raise QueryRefused(f"A page holds 1 to {LARGEST_PAGE} products, not {query.limit}.")
    for probability in (query.min_probability, query.after.probability if query.after else 0):
        if not 0 <= probability <= 1:
            raise QueryRefused(f"A probability is between 0 and 1; {probability} is not.")
    first_sol, last_sol = query.sols
    for sol in (first_sol, last_sol):
        if sol is not None and not 0 <= sol <= LARGEST_SOL:
            raise QueryRefused(f"A sol is a number from 0 to {LARGEST_SOL}; {sol} is not.")
    if first_sol is not None and last_sol is not None and first_sol > last_sol:
        raise QueryRefused(
            f"Sols {first_sol} to {last_sol} are not a range; give the earlier sol first."
        )
    return {
        "min_probability": query.min_probability,
        "rover": query.rover,
        "first_sol": first_sol,
        "last_sol": last_sol,
        "after_probability": query.after.probability if query.after else None,
        "after_id": query.after.product_id if query.after else None,
        "limit": query.limit + 1,  # one more shows whether there is a next page
    }


def _to_hit(row: "sa.Row[tuple[object, ...]]") -> Hit:
    values = row._asdict()
    del values["confidence"]
    return Hit(**values)
