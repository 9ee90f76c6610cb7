"""A database with tables and a current classifier, and short ways to bring a run to some point."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from db import classifiers, ledger, migrate
from db.classifiers import NewClassifier
from db.engine import connect
from db.ledger import NewRun
from db.publish import Classified, publish_chunk
from db.rows import ProductRow

LEASE, ATTEMPTS = 600, 3
PLAIN_SCORES = (0.95, *[0.1] * 24)
"""Only the first class, rod, is above the threshold of 0.9."""


def make_product(clock: int, version: str = "1", **facts: object) -> ProductRow:
    """A Pancam L2 product whose name differs from others by its clock and version."""
    product = ProductRow(
        product_id=f"1P{clock:09d}EFF0000P2600L2M{version}",
        rover="Opportunity",
        sol=clock,
        site=0,
        drive=0,
        sequence="P2600",
        start_time=datetime(2004, 1, 25, 12, tzinfo=UTC),
        local_solar_time="12:30:00",
        lines=1024,
        line_samples=1024,
        image_url=f"https://example.org/{clock}.img",
        label_url=None,
        browse_url=None,
    )
    return replace(product, **facts)


@dataclass(frozen=True)
class Story:
    """What tests tell about runs, in few words."""

    engine: sa.Engine

    def listed(self, count: int = 8, chunk_size: int = 4, again: bool = False) -> int:
        """The number of a run with `count` products recorded, their clocks 1 to `count`."""
        return self.listed_products(
            [make_product(clock) for clock in range(1, count + 1)], chunk_size, again
        )

    def listed_products(
        self, products: list[ProductRow], chunk_size: int = 4, again: bool = False
    ) -> int:
        """The number of a run with these products recorded."""
        new = NewRun(archives=("sample",), chunk_size=chunk_size, again=again)
        run_id = ledger.create_run(self.engine, new).run_id
        ledger.take_listing(self.engine, run_id, "lister", LEASE, ATTEMPTS)
        ledger.record_listing(self.engine, run_id, products, {})
        return run_id

    def take(self, run_id: int, number: int, taker: str = "worker") -> object:
        """What `take_chunk` gives to a taker."""
        return ledger.take_chunk(self.engine, run_id, number, taker, LEASE, ATTEMPTS)

    def publish(self, run_id: int, number: int, scores: tuple[float, ...] = PLAIN_SCORES) -> bool:
        """Take a chunk and publish the same scores for each of its products."""
        taken = self.take(run_id, number)
        outcomes = [Classified(product.product_id, scores) for product in taken.products]
        return publish_chunk(self.engine, run_id, number, outcomes)

    def classified(self, products: list[ProductRow], scores: tuple[float, ...]) -> None:
        """These products were listed and got these scores."""
        run_id = self.listed_products(products, chunk_size=len(products))
        assert self.publish(run_id, 1, scores)

    def rows(self, sql: str, **parameters: object) -> list[tuple]:
        """The rows of a query."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(sql), parameters)]

    def execute(self, sql: str, **parameters: object) -> None:
        """Run a statement and commit."""
        with self.engine.begin() as connection:
            connection.execute(sa.text(sql), parameters)

    def is_refused(self, sql: str, **parameters: object) -> bool:
        """Whether the database refuses a statement because of a constraint."""
        with self.engine.connect() as connection:
            try:
                connection.execute(sa.text(sql), parameters)
            except sa.exc.IntegrityError:
                return True
        return False


@pytest.fixture
def empty_engine(database_url: str) -> Iterator[sa.Engine]:
    """An engine for a database without tables."""
    engine = connect(database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def shared_engine(postgres_server: str) -> Iterator[sa.Engine]:
    """An engine for a database with tables, made once for all tests."""
    server = sa.create_engine(postgres_server, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE db_room")
    engine = connect(server.url.set(database="db_room").render_as_string(hide_password=False))
    migrate.upgrade(engine)
    yield engine
    engine.dispose()
    with server.connect() as connection:
        connection.exec_driver_sql("DROP DATABASE db_room WITH (FORCE)")
    server.dispose()


@pytest.fixture
def engine(shared_engine: sa.Engine) -> sa.Engine:
    """An engine for a database with tables and nothing in them but the 25 classes."""
    with shared_engine.begin() as connection:
        connection.exec_driver_sql("TRUNCATE run, product, classifier RESTART IDENTITY CASCADE")
    return shared_engine


@pytest.fixture
def story(engine: sa.Engine) -> Story:
    """A database in which the classifier 'first' with threshold 0.9 is current."""
    classifiers.add(engine, NewClassifier("a" * 64, "first", "/models/first", 0.9, {"size": 224}))
    classifiers.promote(engine, "first")
    return Story(engine)


@pytest.fixture
def product() -> Callable[..., ProductRow]:
    """`make_product`."""
    return make_product
