"""Listing products of a file and merging them into the product table."""

import io

import pytest
import sqlalchemy as sa

from mernet.db.engine import transaction
from mernet.db.ledger.listed import list_file, merge_into_products, spool


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
        merge_into_products(list_file(connection, cut_off))

    work(story.engine)
    assert len(cut_off.backends) == 2
    assert story.rows("SELECT count(*) FROM product") == [(2,)]
