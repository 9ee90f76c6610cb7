"""The product table: what a listing found, merged in bulk."""

import csv
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, fields
from typing import IO

import sqlalchemy as sa

from db.rows import ProductRow
from db.tables import product, run_product

MEMORY_LIMIT = 32 * 1024 * 1024
"""Bytes of a listing held in memory; a longer one goes to a temporary file."""

COLUMNS = tuple(field.name for field in fields(ProductRow))
_NAMES = ", ".join(COLUMNS)

STAGE = f"CREATE TEMPORARY TABLE listed ON COMMIT DROP AS SELECT {_NAMES} FROM product WITH NO DATA"
NUMBER = "ALTER TABLE listed ADD position bigint GENERATED ALWAYS AS IDENTITY"
COPY = f"COPY listed ({_NAMES}) FROM STDIN (FORMAT csv)"
MERGE = f"""
INSERT INTO product ({_NAMES})
SELECT DISTINCT ON (product_id) {_NAMES} FROM listed ORDER BY product_id, position
ON CONFLICT (product_id) DO UPDATE
SET ({_NAMES}, listed_at) = ({", ".join(f"excluded.{name}" for name in COLUMNS)}, now())
WHERE ({", ".join(f"product.{name}" for name in COLUMNS)})
    IS DISTINCT FROM ({", ".join(f"excluded.{name}" for name in COLUMNS)})
"""


@contextmanager
def spooled(products: Iterable[ProductRow]) -> Iterator[IO[str]]:
    """`products` as CSV in a temporary file, so that no transaction waits for the archive."""
    with tempfile.SpooledTemporaryFile(MEMORY_LIMIT, "w+", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(map(astuple, products))
        yield file


def merge(connection: sa.Connection, listing: IO[str]) -> None:
    """Write the products of `listing`; a row that is there already is updated where it differs.

    Leaves them in the temporary table `listed` too, with their `position`, until the transaction
    ends. Products are written in the order of their names, so that two listings cannot deadlock.
    """
    connection.exec_driver_sql(STAGE)
    connection.exec_driver_sql(NUMBER)
    listing.seek(0)
    driver = connection.connection.driver_connection
    assert driver is not None  # only a detached connection has none
    with driver.cursor() as cursor:
        cursor.copy_expert(COPY, listing)
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
