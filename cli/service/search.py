"""`mernet search` and `mernet show`: the published classes, and all scores of one product."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Annotated, Any

import sqlalchemy as sa
import typer

from mernet.cli.shared.connections import ledger
from mernet.cli.shared.output import (
    AsCsv,
    AsJson,
    check_one_format,
    note,
    print_csv,
    print_json,
    print_table,
    say,
)
from mernet.db.errors import ProductFailed
from mernet.db.search import (
    Background,
    EarlierOutcome,
    Hit,
    Page,
    Place,
    Query,
    Score,
    background,
    class_counts,
    scores_of,
    search_pages,
)
from mernet.pds.product import ProductName

FACTS = tuple(each.name for each in fields(Hit) if each.name not in ("product_id", "probabilities"))
"""What the formats tell of an image besides its probabilities."""

SHOWN = 20
"""How many images the table shows without --limit."""

BEST = 3
"""How many probabilities of an earlier outcome the table shows; JSON has all."""


Classes = Annotated[
    list[str] | None,
    typer.Argument(help="Codes or names of classes, all of which an image must show."),
]
Without = Annotated[
    list[str] | None, typer.Option(help="A class that the image must not show; may be repeated.")
]
RoverName = Annotated[str | None, typer.Option(help="Opportunity or Spirit.")]
Sols = Annotated[
    str | None, typer.Option(help="Sols A:B, both included; A:, :B or A alone work too.")
]
MinProbability = Annotated[
    float, typer.Option(min=0, max=1, help="Lowest probability of each given class.")
]
Limit = Annotated[
    int | None,
    typer.Option(
        min=1,
        help=f"Maximum number of images to print; by default {SHOWN} in a table, otherwise all.",
    ),
]
After = Annotated[
    str | None, typer.Option(help="Continue after a page: the value it printed as --after.")
]
Own = Annotated[
    bool,
    typer.Option(
        "--own",
        help="Search the images of your own folders, which are not among the archives' images.",
    ),
]


def search(
    classes: Classes = None,
    without: Without = None,
    rover: RoverName = None,
    sol: Sols = None,
    min_probability: MinProbability = 0.0,
    limit: Limit = None,
    after: After = None,
    own: Own = False,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Find images by class, the most probable first; without a class, count images by class.

    For example: mernet search rtr --without sky --rover Spirit --sol 100:200. The columns of CSV
    and JSON have the names of the view atlas_search; in place of confidence, each class that is
    asked for has a column named by its code.
    """
    check_one_format(as_csv, as_json)
    if not classes:
        if without or rover or sol or min_probability or after:
            raise typer.BadParameter("Name a class to search for, such as sky.")
        _print_counts(ledger(), own, as_csv, as_json)
        return
    query = Query(
        classes=tuple(classes),
        without=tuple(without or ()),
        rover=rover,
        sols=_parse_sols(sol),
        min_probability=min_probability,
        after=_parse_place(after),
        own=own,
    )
    wanted = limit or (None if as_csv or as_json else SHOWN)
    _print_page(search_pages(ledger(), query, wanted), query, as_csv, as_json)


def show(
    product: Annotated[str, typer.Argument(help="A product's 27-character name, or its file's.")],
    as_json: AsJson = False,
) -> None:
    """Show all 25 probabilities of one product, and which classes are published.

    Also shown: where the image is, and where there are any, the share of pixels that were not
    received, earlier outcomes and places with the time and cause of their change, and the other
    products of the same exposure.
    """
    engine = ledger()
    product_id = str(ProductName.parse(product))
    known = background(engine, product_id)
    try:
        scores = scores_of(engine, product_id)
    except ProductFailed:
        if known.earlier or known.earlier_places or known.same_exposure:
            _print_scores_and_background([], known, as_json)
        raise
    _print_scores_and_background(scores, known, as_json)


def _print_scores_and_background(scores: Sequence[Score], known: Background, as_json: bool) -> None:
    if as_json:
        facts = {name: value for name, value in asdict(known).items() if value}
        if not known.earlier_places:
            del facts["image_url"]
        print_json({score.code: score.probability for score in scores} | facts)
        return
    if scores:
        print_table(
            ("class", "name", "probability", "published"),
            [(s.code, s.name, s.probability, "yes" if s.published else "") for s in scores],
        )
    _print_background(known)


def _print_background(known: Background) -> None:
    say(f"Image: {known.image_url}")
    if known.missing_share:
        note(f"{known.missing_share:.1%} of the image's pixels were not received.")
    if known.earlier:
        say()
        print_table(
            ("replaced at", "by run", "cause", "earlier outcome", "of run"),
            [
                (each.replaced_at, each.replaced_by, each.cause, _describe(each), each.run_id)
                for each in known.earlier
            ],
        )
    if known.earlier_places:
        say()
        print_table(
            ("changed at", "cause", "image until then"),
            [(each.changed_at, each.cause, each.image_url) for each in known.earlier_places],
        )
    if known.same_exposure:
        say()
        print_table(
            ("other products of the exposure", "collection", "outcome"),
            [(each.product_id, each.collection, each.state) for each in known.same_exposure],
        )


def _describe(earlier: EarlierOutcome) -> str:
    """Return an earlier outcome in a few words: its three most probable classes, or its failure."""
    if earlier.probabilities is None:
        return f"failed: {earlier.reason}"
    best = sorted(earlier.probabilities.items(), key=lambda each: -each[1])[:BEST]
    return ", ".join(f"{code} {probability:.2f}" for code, probability in best)


def _print_counts(engine: sa.Engine, own: bool, as_csv: bool, as_json: bool) -> None:
    rows = [
        {"class": count.code, "class_name": count.name, "images": count.images}
        for count in class_counts(engine, own)
    ]
    shown = {"class": "class", "name": "class_name", "images": "images"}
    _print_rows(rows, tuple(shown.values()), shown, as_csv, as_json)


def _print_page(page: Page, query: Query, as_csv: bool, as_json: bool) -> None:
    asked = list(page.hits[0].probabilities) if page.hits else list(query.classes)
    shown = {
        "product": "product_id",
        **{name: name for name in (*asked, "rover", "sol", "site", "drive")},
        "local time": "local_solar_time",
        "image": "image_url",
    }
    columns = ("product_id", *asked, *FACTS)
    _print_rows([_as_row(hit) for hit in page.hits], columns, shown, as_csv, as_json)
    if not page.hits:
        note("No image matches; `mernet search` alone counts the images of each class.")
    if page.next is not None:
        note(f"More images match: add --after {page.next.probability!r}:{page.next.product_id}")


def _as_row(hit: Hit) -> dict[str, Any]:
    facts = {name: getattr(hit, name) for name in FACTS}
    return {"product_id": hit.product_id} | dict(hit.probabilities) | facts


def _print_rows(
    rows: list[dict[str, Any]],
    columns: tuple[str, ...],
    shown: dict[str, str],
    as_csv: bool,
    as_json: bool,
) -> None:
    """Print rows in the format asked for.

    Args:
        rows: The rows, by the names of columns.
        columns: The columns of CSV.
        shown: The columns of a table, by their headers.
        as_csv: Print CSV.
        as_json: Print JSON.
    """
    if as_json:
        print_json(rows)
    elif as_csv:
        print_csv(rows, columns)
    else:
        print_table(list(shown), [[row[key] for key in shown.values()] for row in rows])


def _parse_sols(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    first, colon, last = text.partition(":")
    try:
        low, high = (int(part) if part else None for part in (first, last if colon else first))
    except ValueError:
        raise typer.BadParameter(f"{text} is not a range of sols; use A:B, A:, :B or A.") from None
    return low, high


def _parse_place(text: str | None) -> Place | None:
    if text is None:
        return None
    probability, _, product_id = text.partition(":")
    try:
        return Place(float(probability), product_id)
    except ValueError:
        raise typer.BadParameter(
            f"{text} is not the end of a page; copy the value that the previous page printed."
        ) from None
