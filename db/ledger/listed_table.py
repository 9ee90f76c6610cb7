"""The temporary table `listed`: the products that one transaction lists, in their order."""

import csv
import re
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from itertools import islice
from typing import IO, Any

import sqlalchemy as sa

from mernet.db.engine import first_line
from mernet.db.errors import ListingRefused
from mernet.db.products import PRODUCT_COLUMNS, ProductRow

MEMORY_LIMIT = 32 * 1024 * 1024
"""Bytes of a listing that stay in memory; a longer one goes to a temporary file."""

NAMES = ", ".join(PRODUCT_COLUMNS)

# It has the rules of `product`, so that COPY refuses a bad row, and says on which line it is.
CREATE = """
CREATE TEMPORARY TABLE listed (
    LIKE product INCLUDING CONSTRAINTS INCLUDING DEFAULTS,
    position bigint GENERATED ALWAYS AS IDENTITY
) ON COMMIT DROP
"""
COPY = f"COPY listed ({NAMES}) FROM STDIN (FORMAT csv)"


@dataclass(frozen=True, slots=True)
class Listed:
    """Proof that a transaction has the temporary table `listed`, which lasts until its end.

    Functions whose SQL reads the table take this instead of a connection. The table has the columns
    and rules of `product`, and `position`, by which products are put in chunks. A product may be in
    it several times.

    Attributes:
        connection: The connection whose transaction has the table.
    """

    connection: sa.Connection

    def count(self) -> int:
        """Return how many different products the table holds."""
        count: int = self.connection.execute(
            sa.text("SELECT count(DISTINCT product_id) FROM listed")
        ).scalar_one()
        return count


@contextmanager
def spool(products: Iterable[ProductRow]) -> Iterator[IO[str]]:
    """Write products as CSV to a temporary file, so that no transaction waits for the archive."""
    with tempfile.SpooledTemporaryFile(MEMORY_LIMIT, "w+", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(map(astuple, products))
        yield file


def list_file(connection: sa.Connection, listing: IO[str]) -> Listed:
    """List the products of a file that `spool` wrote.

    Raises:
        ListingRefused: A product breaks a rule of the product table; the message names it.
    """
    connection.exec_driver_sql(CREATE)
    listing.seek(0)
    try:
        connection.exec_driver_sql(COPY, execution_options={"copy_from": listing})
    except (sa.exc.DataError, sa.exc.IntegrityError) as error:
        refused = _refused_row(error, listing)
        raise ListingRefused(
            f"The listing was refused because of {refused['product_id']} "
            f"({first_line(error)}); correct the archive's index or report it.",
            refused["source"] or None,
        ) from error
    return Listed(connection)


def list_selected(
    connection: sa.Connection, selection: str, parameters: Mapping[str, object]
) -> Listed:
    """List the products of the product table that a SELECT gives, in its order.

    Args:
        connection: An open transaction.
        selection: A SELECT of `PRODUCT_COLUMNS`.
        parameters: The values of its parameters.
    """
    connection.exec_driver_sql(CREATE)
    connection.execute(sa.text(f"INSERT INTO listed ({NAMES}) {selection}"), parameters)
    return Listed(connection)


def _refused_row(error: sa.exc.DBAPIError, listing: IO[str]) -> dict[str, str]:
    """Return the product that COPY refused, by column: the server says "COPY listed, line 2".

    For the server a line ends where the CSV writer ended it, with CR LF, so a line is a product.
    """
    original: Any = error.orig
    line = int(re.findall(r"\d+", original.diag.context)[0])
    listing.seek(0)
    row = deque(islice(csv.reader(listing), line), maxlen=1).pop()
    return dict(zip(PRODUCT_COLUMNS, row, strict=True))
