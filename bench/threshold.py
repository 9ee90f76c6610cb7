"""Measures how long a new threshold of a class takes over a million outcomes.

Run as `python -m bench.threshold [URL of an empty database]`; without a URL an embedded Postgres in
a temporary folder serves. Lines are added to bench/results/threshold.csv.
"""

import sys
import time

import sqlalchemy as sa

from bench.database import fresh_database, keep
from bench.publish import SHARE_ABOVE
from mernet.db import classifiers, ledger
from mernet.db.thresholds import set_threshold

OUTCOMES = 1_000_000
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
    """Publish all classes from a million outcomes' scores, then change one class's threshold."""
    with fresh_database(sys.argv[1:]) as engine:
        _score(engine)
        begun = time.perf_counter()
        classifiers.promote(engine, "bench")
        _keep(engine, "all 25 classes", 0.9, time.perf_counter() - begun, _published(engine), 0)
        for threshold in THRESHOLDS:
            begun = time.perf_counter()
            did = set_threshold(engine, "sky", threshold)
            seconds = time.perf_counter() - begun
            _keep(engine, did.code, threshold, seconds, did.added, did.withdrawn)


def _score(engine: sa.Engine) -> None:
    """A million outcomes of a classifier of which only the scores are kept."""
    run = ledger.create_run(engine, ledger.NewRun(("bench",)))
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE classifier SET is_current = false, is_published = false")
        connection.execute(PRODUCTS, {"outcomes": OUTCOMES})
        connection.execute(
            SCORED, {"classifier": run.classifier, "run_id": run.run_id, "share": SHARE_ABOVE}
        )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")


def _published(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(sa.text("SELECT count(*) FROM classification")).scalar_one()


def _keep(
    engine: sa.Engine, what: str, threshold: float, seconds: float, added: int, withdrawn: int
) -> None:
    keep(
        engine,
        "threshold",
        {
            "outcomes": OUTCOMES,
            "published": what,
            "above": threshold,
            "added": added,
            "withdrawn": withdrawn,
            "seconds": round(seconds, 1),
        },
    )


if __name__ == "__main__":
    main()
