"""`mernet data sample`: draws a random sample of eligible products for people to label."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn

from mernet.cli.learning.options import Seed
from mernet.cli.shared.options import Mirror, ProductsWanted
from mernet.cli.shared.output import AsJson, err, note, print_json, print_table
from mernet.model.errors import DataSetError
from mernet.model.training.data.sampling import draw_sample
from mernet.model.training.text_files import write_csv
from mernet.pds.archive import resolve
from mernet.pds.fetch import Fetcher, user_agent
from mernet.pds.listing import list_products
from mernet.pds.product import Product
from mernet.pds.selection import LeftOut, ProductKind, Selection
from mernet.worker.settings import settings

COLUMNS = ("product_id", "rover", "site", "sequence", "sol", "image_url", "browse_url")
ROWS_BETWEEN_UPDATES = 1000


def sample(
    archives: Annotated[
        list[str],
        typer.Argument(
            metavar="ARCHIVE...",
            help="Names, URLs or paths of archives, index tables, inventories or folders.",
        ),
    ],
    file: Annotated[Path, typer.Option("--out", help="CSV file to write, one product per row.")],
    fraction: Annotated[
        float,
        typer.Option(help="Share of the products of each site, rounded up.", min=0, max=1),
    ] = 0.2,
    seed: Seed = 0,
    mirror: Mirror = None,
    products: ProductsWanted = "edr",
    as_json: AsJson = False,
) -> None:
    """Draw a random sample of eligible images to label, with a share from each site of each rover.

    Prints how many products were eligible and drawn, and why others were left out.
    """
    if fraction == 0:
        raise typer.BadParameter("--fraction must be above 0.")
    eligible, left_out = _list_eligible(archives, mirror, products)
    if not eligible:
        raise DataSetError(
            f"{' '.join(archives)} lists no eligible product ({left_out.total()} left out); give "
            "an index table, an inventory, a folder of products, or other --products"
        )
    strata = {each.product_id: (each.name.rover, each.site) for each in eligible}
    sampled_ids = draw_sample(strata, fraction, seed)
    sampled = sorted(
        (each for each in eligible if each.product_id in sampled_ids),
        key=lambda each: each.product_id,
    )
    write_csv(file, COLUMNS, [_csv_row(each) for each in sampled])
    rovers = _counts_by_rover(eligible, sampled)
    if as_json:
        print_json({"rovers": rovers, "left_out": dict(left_out.most_common())})
        return
    print_table(("rover", "sites", "eligible", "drawn"), [tuple(each.values()) for each in rovers])
    if left_out:
        print_table(("left out because", "products"), left_out.most_common())
    note(f"{file} lists {len(sampled)} products to label.")


def _list_eligible(
    names: list[str], mirror: str | None, products: ProductKind
) -> tuple[list[Product], Counter[str]]:
    """Return the eligible products of archives, and the number of others by reason."""
    left_out: Counter[str] = Counter()

    def count_left_out(each: LeftOut) -> None:
        left_out[each.reason.value] += 1

    archives = [resolve(name, mirror) for name in names]
    columns = (SpinnerColumn(), TextColumn("Listing: {task.completed} rows"))
    with (
        Fetcher(user_agent(settings().contact), attempts=settings().fetch_attempts) as fetcher,
        Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar,
    ):
        task = bar.add_task("", total=None)

        def show_progress(rows: int) -> None:
            if rows % ROWS_BETWEEN_UPDATES == 0:
                bar.update(task, completed=rows)

        selection = Selection(products)
        eligible = list(list_products(archives, selection, fetcher, count_left_out, show_progress))
    return eligible, left_out


def _csv_row(product: Product) -> tuple[object, ...]:
    name = product.name
    place = (name.rover, product.site, name.sequence, product.sol)
    return product.product_id, *place, product.image_url, product.browse_url


def _counts_by_rover(
    eligible: Sequence[Product], sampled: Sequence[Product]
) -> list[dict[str, str | int]]:
    sampled_by_rover = Counter(each.name.rover for each in sampled)
    return [
        {
            "rover": rover.value,
            "sites": len({each.site for each in eligible if each.name.rover is rover}),
            "eligible": count,
            "drawn": sampled_by_rover[rover],
        }
        for rover, count in sorted(Counter(each.name.rover for each in eligible).items())
    ]
