"""Precision and recall of the published classes, compared with what the drawn scenes show."""

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from rich.console import Console
from rich.table import Table
from sklearn.metrics import precision_recall_fscore_support

from mernet.db.engine import connect
from mernet.demo.errors import DemoError

ClassTable = npt.NDArray[np.bool_]

PUBLISHED = sa.text("SELECT product_id, class FROM atlas_search WHERE product_id = ANY (:products)")


def print_evaluation(console: Console, database_url: str, truth_path: Path) -> None:
    """Print precision and recall of the published classes, by class and over all labels.

    Only products that can be classified count.

    Raises:
        DemoError: The truth file does not exist.
    """
    products, classes, truth = read_truth(truth_path)
    published = _read_published(database_url, products, classes)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for header in ("class", "shown", "published", "correct", "precision", "recall"):
        table.add_column(header, justify="left" if header == "class" else "right")
    for position, code in enumerate(classes):
        _add_row(table, code, truth[:, position], published[:, position])
    _add_row(table, "all", truth.ravel(), published.ravel())
    console.print(table)


def read_truth(path: Path) -> tuple[list[str], list[str], ClassTable]:
    """Read the truth of the products that can be classified.

    Returns:
        The products, the class codes, and which product shows which class as bool
        (products, classes).

    Raises:
        DemoError: The file does not exist.
    """
    if not path.is_file():
        raise DemoError(f"{path} does not exist; delete {path.parent} and run the demo again.")
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["expected"] == "classified"]
    classes = [name for name in rows[0] if name not in ("product_id", "expected", "reason")]
    shown = np.array([[row[code] == "1" for code in classes] for row in rows])
    return [row["product_id"] for row in rows], classes, shown


def _read_published(database_url: str, products: list[str], classes: list[str]) -> ClassTable:
    """Read which product has which published class: bool (products, classes)."""
    published = np.zeros((len(products), len(classes)), bool)
    rows = {product: index for index, product in enumerate(products)}
    columns = {code: index for index, code in enumerate(classes)}
    engine = connect(database_url)
    with engine.connect() as connection:
        for product, code in connection.execute(PUBLISHED, {"products": products}):
            if code in columns:
                published[rows[product], columns[code]] = True
    engine.dispose()
    return published


def _add_row(table: Table, title: str, shown: ClassTable, published: ClassTable) -> None:
    precision, recall, _, _ = precision_recall_fscore_support(
        shown, published, average="binary", zero_division=np.nan
    )
    counts = (int(shown.sum()), int(published.sum()), int((shown & published).sum()))
    ratios = ("-" if np.isnan(ratio) else f"{ratio:.2f}" for ratio in (precision, recall))
    table.add_row(title, *map(str, counts), *ratios)
