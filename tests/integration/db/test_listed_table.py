"""Listing products of a file and merging them into the product table."""

import io
from dataclasses import astuple

import pytest
import sqlalchemy as sa

from mernet.db.engine import transaction
from mernet.db.ledger.listed_table import list_file, list_selected, spool
from mernet.db.ledger.merging import Circumstances, merge_into_products
from mernet.db.products import PRODUCT_COLUMNS


class CutOff(io.StringIO):
    """A listing during whose first reading the server ends the connection that copies it."""

    def __init__(self, text, engine):
        super().__init__(text)
        self.engine, self.backends = engine, []

    def read(self, size=-1):
        if len(self.backends) == 1:
            with self.engine.connect() as other:
                ended = other.execute(
                    sa.text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": self.backends[0]}
                )
                assert ended.scalar_one()
        return super().read(size)


@pytest.fixture
def cut_off(story, product):
    """A listing of two products."""
    with spool([product(1), product(2)]) as listing:
        listing.seek(0)
        return CutOff(listing.read(), story.engine)


def test_a_connection_lost_while_a_listing_is_copied_is_replaced(story, cut_off):
    @transaction
    def work(connection: sa.Connection) -> None:
        cut_off.backends.append(connection.scalar(sa.text("SELECT pg_backend_pid()")))
        merge_into_products(list_file(connection, cut_off), Circumstances())

    work(story.engine)
    assert len(cut_off.backends) == 2
    assert story.rows("SELECT count(*) FROM product") == [(2,)]


POSITIONS = sa.text("SELECT product_id FROM listed ORDER BY position")


def test_products_of_a_file_are_listed_in_its_order_and_counted_once(story, product):
    products = [product(3), product(1), product(3)]
    with spool(products) as listing, story.engine.begin() as connection:
        listed = list_file(connection, listing)
        names = list(connection.scalars(POSITIONS))
        assert names == [each.product_id for each in products]
        assert listed.count() == 2


def test_selected_products_are_listed_with_all_their_facts_in_the_order_of_the_query(
    story, product
):
    products = [product(clock) for clock in (1, 2, 3)]
    story.listed_products(products)
    columns = ", ".join(PRODUCT_COLUMNS)
    query = f"SELECT {columns} FROM product WHERE sol > :sol ORDER BY product_id DESC"
    with story.engine.begin() as connection:
        listed = list_selected(connection, query, {"sol": 1})
        assert listed.count() == 2
        facts = connection.execute(sa.text(f"SELECT {columns} FROM listed ORDER BY position"))
        assert [tuple(row) for row in facts] == [astuple(products[2]), astuple(products[1])]


def test_the_table_ends_with_its_transaction(story, product):
    for _ in range(2):
        with spool([product(1)]) as listing, story.engine.begin() as connection:
            list_file(connection, listing)
    assert story.rows("SELECT to_regclass('listed')") == [(None,)]
