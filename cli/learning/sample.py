"""`mernet data sample`: draws images to label from the eligible products of archives."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn

from mernet.cli.service.run import Mirror, ProductsWanted
from mernet.cli.shared.output import AsJson, err, note, print_json, print_table
from mernet.model.errors import DataSetError
from mernet.pds.selection import ProductKind
from mernet.worker.settings import settings

if TYPE_CHECKING:
    from mernet.pds.product import Product

COLUMNS = ("product_id", "rover", "site", "sequence", "sol", "image_url", "browse_url")
ROWS_BETWEEN_UPDATES = 1000


def sample(
    listing: Annotated[
        list[str],
        typer.Argument(help="Names, URLs or paths of archives, indexes, inventories or folders."),
    ],
    file: Annotated[Path, typer.Option("--out", help="CSV file of the drawn products to write.")],
    fraction: Annotated[
        float, typer.Option(help="Share of each site's images, rounded up.", min=0, max=1)
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Seed of what is drawn.")] = 0,
    mirror: Mirror = None,
    products: ProductsWanted = "edr",
    as_json: AsJson = False,
) -> None:
    """Draw images to label: of the eligible ones, a share at each site of each rover."""
    from mernet.model.training.data.sampling import draw_sample
    from mernet.model.training.text_files import write_csv

    if fraction == 0:
        raise typer.BadParameter("--fraction must be above 0.")
    eligible, left_out = _listed(listing, mirror, products)
    if not eligible:
        raise DataSetError(
            f"{' '.join(listing)} lists no eligible product ({left_out.total()} left out); give an "
            "index, an inventory, a folder of products, or other --products"
        )
    strata = {each.product_id: (each.name.rover, each.site) for each in eligible}
    names = draw_sample(strata, fraction, seed)
    drawn = sorted(
        (each for each in eligible if each.product_id in names), key=lambda each: each.product_id
    )
    write_csv(file, COLUMNS, [_row(each) for each in drawn])
    rovers = _by_rover(eligible, drawn)
    if as_json:
        print_json({"rovers": rovers, "left_out": dict(left_out.most_common())})
        return
    print_table(("rover", "sites", "eligible", "drawn"), [tuple(each.values()) for each in rovers])
    if left_out:
        print_table(("left out because", "products"), left_out.most_common())
    note(f"{len(drawn)} products to label are in {file}.")


def _listed(
    listing: list[str], mirror: str | None, products: ProductKind
) -> tuple[list["Product"], Counter[str]]:
    """The eligible products of archives, and how many others were left out for each reason."""
    from mernet.pds.archive import resolve
    from mernet.pds.fetch import Fetcher, user_agent
    from mernet.pds.listing import list_products
    from mernet.pds.selection import LeftOut, Selection

    left_out: Counter[str] = Counter()

    def leave_out(each: LeftOut) -> None:
        left_out[each.reason.value] += 1

    archives = [resolve(name, mirror) for name in listing]
    columns = (SpinnerColumn(), TextColumn("Listing: {task.completed} rows"))
    with (
        Fetcher(user_agent(settings().contact), attempts=settings().fetch_attempts) as fetcher,
        Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar,
    ):
        task = bar.add_task("", total=None)

        def show(rows: int) -> None:
            if rows % ROWS_BETWEEN_UPDATES == 0:
                bar.update(task, completed=rows)

        selection = Selection(products)
        return list(list_products(archives, selection, fetcher, leave_out, show)), left_out


def _row(product: "Product") -> tuple[object, ...]:
    name = product.name
    place = (name.rover, product.site, name.sequence, product.sol)
    return product.product_id, *place, product.image_url, product.browse_url


def _by_rover(
    eligible: Sequence["Product"], drawn: Sequence["Product"]
) -> list[dict[str, str | int]]:
    chosen = Counter(each.name.rover for each in drawn)
    return [
        {
            "rover": rover.value,
            "sites": len({each.site for each in eligible if each.name.rover is rover}),
            "eligible": count,
            "drawn": chosen[rover],
        }
        for rover, count in sorted(Counter(each.name.rover for each in eligible).items())
    ]
