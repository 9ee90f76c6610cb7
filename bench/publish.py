"""Measure publishing: products and classification rows a second, by 1, 2 and 4 publishers.

Run `python -m bench.publish`. The results go to bench/results/publish.csv.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import sqlalchemy as sa

from bench.database import add_row, database_option_parser, fresh_database
from mernet.db import ledger
from mernet.db.ledger import ProductRow, publish_chunk
from mernet.db.publish import Classified

CHUNK_SIZE = 32
PUBLISHERS = (1, 2, 4)
SHARE_ABOVE = 5.23 / 25
"""The labelled images show 5.23 of the 25 classes on average."""


def main() -> None:
    """Publish the same number of chunks by one, two and four publishers at once."""
    parser = database_option_parser(__doc__)
    parser.add_argument("--chunks", type=int, default=1000, help="of 32 products (default: 1000)")
    arguments = parser.parse_args()
    with fresh_database(arguments.database_url) as engine:
        for publishers in PUBLISHERS:
            row = measure(engine, arguments.chunks, publishers)
            add_row(engine, arguments.out / "publish.csv", row)


def measure(engine: sa.Engine, chunks: int, publishers: int) -> dict[str, object]:
    """Publish a run of that many chunks; return the rates."""
    run_id = ledger.create_run(engine, ledger.NewRun(("bench",), reclassify=True)).run_id
    products = chunks * CHUNK_SIZE
    begun = time.perf_counter()
    ledger.claim_listing(engine, run_id, "bench", 600, 3)
    ledger.record_listing(engine, run_id, "bench", map(product, range(products)), {})
    listed = time.perf_counter()
    with ThreadPoolExecutor(publishers) as pool:
        numbers = range(1, chunks + 1)
        assert all(pool.map(lambda number: publish(engine, run_id, number), numbers))
    seconds = time.perf_counter() - listed
    assert ledger.reconcile(engine, run_id).ok
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT count(*) FROM classification")).scalar_one()
        size = connection.execute(
            sa.text("SELECT pg_database_size(current_database())")
        ).scalar_one()
    return {
        "publishers": publishers,
        "chunks": chunks,
        "products_per_second_listed": round(products / (listed - begun)),
        "products_per_second_published": round(products / seconds),
        "classifications_per_second": round(rows / seconds),
        "milliseconds_per_chunk": round(1000 * seconds * publishers / chunks, 1),
        "database_megabytes": round(size / 2**20, 1),
    }


def publish(engine: sa.Engine, run_id: int, number: int) -> bool:
    """Claim a chunk and publish random scores, the usual share of them above the threshold."""
    claimant = f"bench {number}"
    chunk = ledger.claim_chunk(engine, run_id, number, claimant, 600, 3)
    assert isinstance(chunk, ledger.Chunk)
    draw = np.random.default_rng(number).random((len(chunk.products), 25), dtype=np.float32)
    scores = np.where(draw < SHARE_ABOVE, 0.91 + 0.08 * draw, 0.8 * draw)
    outcomes = [
        Classified(product.product_id, row)
        for product, row in zip(chunk.products, scores, strict=True)
    ]
    return publish_chunk(engine, chunk, claimant, outcomes)


def product(clock: int) -> ProductRow:
    """Return an invented product with that spacecraft clock."""
    return ProductRow(
        product_id=f"1P{clock:09d}EFF0000P2600L2M1",
        rover="Opportunity",
        sol=clock // 20,
        site=clock // 1000,
        drive=clock % 1000,
        sequence="P2600",
        start_time=None,
        local_solar_time="12:30:00",
        lines=1024,
        line_samples=1024,
        image_url=f"https://example.org/data/sol{clock // 20:04d}/edr/{clock}.img",
        label_url=None,
        browse_url=f"https://example.org/browse/sol{clock // 20:04d}/edr/{clock}.img.jpg",
    )


if __name__ == "__main__":
    main()
