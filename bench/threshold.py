"""Measure how long a new threshold of a class takes over a million outcomes.

Run `python -m bench.threshold`. The results go to bench/results/threshold.csv.
"""

import time

import sqlalchemy as sa

from bench.database import add_row, database_option_parser, fresh_database
from bench.publish import SHARE_ABOVE
from mernet.db import classifiers, ledger
from mernet.db.thresholds import set_threshold

THRESHOLDS = (0.5, 0.9, 0.95, 0.01, 0.9)

PRODUCTS = sa.text("""
INSERT INTO product (product_id, rover, sequence, lines, line_samples, image_url)
SELECT
    '1P' || to_char(clock, 'FM000000000') || 'EFF0000P2600L2M1', 'Opportunity', 'P2600', 1024, 1024,
    'https://example.org/data/edr/' || clock || '.img'
FROM generate_series(1, :outcomes) AS clock
""")

# Each class is above 0.9 in the usual share of images, and evenly spread below 0.8 in the others.
# The inner query names the product, or all of them would share one draw.
SCORED = sa.text("""
INSERT INTO outcome (product_id, classifier, run_id, state, scores, attempts)
SELECT product_id, :classifier, :run_id, 'classified', (
    SELECT array_agg(CASE WHEN draw < :share THEN 0.91 + 0.08 * draw ELSE 0.8 * draw END)
    FROM (SELECT random() AS draw FROM generate_series(1, 25) WHERE product_id <> '') AS draws
), 1
FROM product
""")


def main() -> None:
    """Publish all classes from the outcomes' scores, then change one class's threshold."""
    parser = database_option_parser(__doc__)
    parser.add_argument("--outcomes", type=int, default=1_000_000, help="default: 1000000")
    arguments = parser.parse_args()

    def add(published: str, threshold: float, seconds: float, added: int, withdrawn: int) -> None:
        row = {
            "outcomes": arguments.outcomes,
            "published": published,
            "above": threshold,
            "added": added,
            "withdrawn": withdrawn,
            "seconds": round(seconds, 1),
        }
        add_row(engine, arguments.out / "threshold.csv", row)

    with fresh_database(arguments.database_url) as engine:
        write_scores(engine, arguments.outcomes)
        begun = time.perf_counter()
        classifiers.promote(engine, "bench")
        add("all 25 classes", 0.9, time.perf_counter() - begun, count_published(engine), 0)
        for threshold in THRESHOLDS:
            begun = time.perf_counter()
            change = set_threshold(engine, "sky", threshold)
            seconds = time.perf_counter() - begun
            add(change.code, threshold, seconds, change.added, change.withdrawn)


def write_scores(engine: sa.Engine, outcomes: int) -> None:
    """Write outcomes of a classifier that is not published: their scores are stored alone."""
    run = ledger.create_run(engine, ledger.NewRun(("bench",)))
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE classifier SET is_current = false, is_published = false")
        connection.execute(PRODUCTS, {"outcomes": outcomes})
        connection.execute(
            SCORED, {"classifier": run.classifier, "run_id": run.run_id, "share": SHARE_ABOVE}
        )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")


def count_published(engine: sa.Engine) -> int:
    """Return the number of classification rows."""
    with engine.connect() as connection:
        count: int = connection.execute(sa.text("SELECT count(*) FROM classification")).scalar_one()
    return count


if __name__ == "__main__":
    main()
