"""Measure class search over a million classification rows: milliseconds a page, index used or not.

Run `python -m bench.search`. The results go to bench/results/search.csv.
"""

import statistics
import time
from typing import Any

import sqlalchemy as sa

from bench.database import add_row, database_option_parser, fresh_database
from mernet.db import ledger, search
from mernet.db.search import Query

CLASSES_EACH, REPEATS = 5, 20

FILL = (
    """
    INSERT INTO product (product_id, rover, sol, sequence, lines, line_samples, image_url)
    SELECT
        format('%sP%s00EFF0000P2600L2M1', 1 + n % 2, n),
        CASE n % 2 WHEN 0 THEN 'Opportunity' ELSE 'Spirit' END,
        n % 5000, 'P2600', 1024, 1024, 'https://example.org/' || n || '.img'
    FROM generate_series(1000001, 1000000 + :products) AS n
    """,
    """
    INSERT INTO outcome (product_id, classifier, run_id, state, scores, attempts)
    SELECT product_id, sha256, :run_id, 'classified', array_fill(CAST(0.5 AS real), ARRAY[25]), 1
    FROM product CROSS JOIN classifier
    """,
    """
    INSERT INTO classification (product_id, classifier, class, probability)
    SELECT outcome.product_id, outcome.classifier, image_class.code, 0.901 + 0.099 * random()
    FROM outcome
    CROSS JOIN LATERAL (
        SELECT code FROM image_class
        ORDER BY hashtext(outcome.product_id || code) LIMIT :classes_each
    ) AS image_class
    """,
)

QUERIES = {
    "one class": Query(("sky",)),
    "one class, far down": Query(("sky",), after=search.Place(0.92, "")),
    "two classes": Query(("sky", "soi")),
    "three classes": Query(("sky", "soi", "dur")),
    "without two": Query(("sky",), without=("soi", "dur")),
    "a rover's hundred sols": Query(("sky",), rover="Spirit", sols=(1000, 1100)),
    "above 0.99": Query(("sky",), min_probability=0.99),
}


def main() -> None:
    """Fill the tables, then time each kind of query."""
    parser = database_option_parser(__doc__)
    parser.add_argument(
        "--products", type=int, default=200_000, help="with 5 rows each (default: 200000)"
    )
    arguments = parser.parse_args()
    with fresh_database(arguments.database_url) as engine:
        fill(engine, arguments.products)
        for name, query in QUERIES.items():
            row = {"query": name, "rows": arguments.products * CLASSES_EACH}
            add_row(engine, arguments.out / "search.csv", row | measure(engine, query))


def fill(engine: sa.Engine, products: int) -> None:
    """Publish CLASSES_EACH random classes with random probabilities for each product."""
    run_id = ledger.create_run(engine, ledger.NewRun(("bench",))).run_id
    with engine.begin() as connection:
        for statement in FILL:
            connection.execute(
                sa.text(statement),
                {"products": products, "classes_each": CLASSES_EACH, "run_id": run_id},
            )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")


def measure(engine: sa.Engine, query: Query) -> dict[str, object]:
    """Return the median and worst milliseconds of a page, and how the server found it."""
    seconds = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        page = search.search(engine, query)
        seconds.append(time.perf_counter() - begun)
    plan = explained(engine, query)
    return {
        "hits": len(page.hits),
        "median_ms": round(1000 * statistics.median(seconds), 1),
        "worst_ms": round(1000 * max(seconds), 1),
        "reads_index": "using classification_search" in plan,
        "sorts": "Sort Key" in plan,
    }


def explained(engine: sa.Engine, query: Query) -> str:
    """Return the query plan of the statement that a search sends."""
    sent: list[tuple[str, Any]] = []

    def remember(
        _connection: object, _cursor: object, statement: str, parameters: Any, *_: object
    ) -> None:
        sent.append((statement, parameters))

    sa.event.listen(engine, "before_cursor_execute", remember)
    search.search(engine, query)
    sa.event.remove(engine, "before_cursor_execute", remember)
    statement, parameters = sent[-1]
    with engine.connect() as connection:
        return "\n".join(connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars())


if __name__ == "__main__":
    main()
