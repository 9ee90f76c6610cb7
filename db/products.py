"""The product table: what a listing found, merged in bulk."""

import csv
import re
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, fields
from itertools import islice
from typing import IO, Any

import sqlalchemy as sa

from mernet.db.engine import first_line
from mernet.db.errors import ListingRefused
from mernet.db.rows import ProductRow
from mernet.db.tables import product, run_product

MEMORY_LIMIT = 32 * 1024 * 1024
"""Bytes of a listing held in memory; a longer one goes to a temporary file."""

COLUMNS = tuple(field.name for field in fields(ProductRow))
_NAMES = ", ".join(COLUMNS)

# It has the rules of `product`, so that COPY refuses a bad row, and says on which line it is.
STAGE = """
CREATE TEMPORARY TABLE listed (
    LIKE product INCLUDING CONSTRAINTS INCLUDING DEFAULTS,
    position bigint GENERATED ALWAYS AS IDENTITY
) ON COMMIT DROP
"""
COPY = f"COPY listed ({_NAMES}) FROM STDIN (FORMAT csv)"
MERGE = f"""
INSERT INTO product ({_NAMES})
SELECT DISTINCT ON (product_id) {_NAMES} FROM listed ORDER BY product_id, position
ON CONFLICT (product_id) DO UPDATE
SET ({_NAMES}, listed_at, withdrawn_at) =
    ({", ".join(f"excluded.{name}" for name in COLUMNS)}, now(), NULL)
WHERE ({", ".join(f"product.{name}" for name in COLUMNS)}, product.withdrawn_at)
    IS DISTINCT FROM ({", ".join(f"excluded.{name}" for name in COLUMNS)}, NULL)
"""


@contextmanager
def spooled(products: Iterable[ProductRow]) -> Iterator[IO[str]]:
    """`products` as CSV in a temporary file, so that no transaction waits for the archive."""
    with tempfile.SpooledTemporaryFile(MEMORY_LIMIT, "w+", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(map(astuple, products))
        yield file


def merge(connection: sa.Connection, listing: IO[str]) -> None:
    """Write the products of `listing`; a row that is there already is updated where it differs.

    One that was withdrawn is so no more. Leaves the products in the temporary table `listed` too,
    with their `position`, until the transaction ends. They are written in the order of their names,
    so that two listings cannot deadlock.
    Raises `ListingRefused`, naming the product, when one breaks a rule of its table.
    """
    connection.exec_driver_sql(STAGE)
    listing.seek(0)
    try:
        connection.exec_driver_sql(COPY, execution_options={"copy_from": listing})
    except (sa.exc.DataError, sa.exc.IntegrityError) as error:
        raise ListingRefused(
            f"The listing was refused because of {_refused(error, listing)} "
            f"({first_line(error)}); correct the archive's index or report it."
        ) from error
    connection.exec_driver_sql(MERGE)


def of_chunk(connection: sa.Connection, run_id: int, number: int) -> tuple[ProductRow, ...]:
    """The products of a chunk, sorted by name."""
    rows = connection.execute(
        sa.select(*(product.c[name] for name in COLUMNS))
        .join(run_product, run_product.c.product_id == product.c.product_id)
        .where(run_product.c.run_id == run_id, run_product.c.chunk_number == number)
        .order_by(product.c.product_id)
    )
    return tuple(ProductRow(*row) for row in rows)


def _refused(error: sa.exc.DBAPIError, listing: IO[str]) -> str:
    """The name of the product that COPY refused: the server says "COPY listed, line 2".

    To it a line ends where the CSV writer ended it, CR LF, so a line is a product.
    """
    told: Any = error.orig
    line = int(re.findall(r"\d+", told.diag.context)[0])
    listing.seek(0)
    return deque(islice(csv.reader(listing), line), maxlen=1).pop()[0]
