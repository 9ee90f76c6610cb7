"""Measures an ingest: 100 new rows in an index as long as Opportunity's, then nothing new at all.

Run as `python -m bench.ingest REAL_FILES [URL of an empty database]`; without a URL an embedded
Postgres in a temporary folder serves. The index is made from the real label and the one real row in
REAL_FILES, and comes over HTTP from loopback. A line is added to bench/results/ingest.csv.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

from bench.database import fresh_database, keep
from bench.listing import ROWS, write_volume
from mernet.db import ledger
from mernet.db.ledger import NewRun
from mernet.demo.server import serve
from mernet.pds.fetch import Fetcher
from mernet.worker.ingest import IngestReport, ingest

NEW_ROWS = 100

# The run before has classified all it took up.
SETTLE = (
    """
    INSERT INTO outcome (product_id, classifier, run_id, state, scores, attempts)
    SELECT product_id, classifier, run_id, 'classified', array_fill(CAST(0.5 AS real), ARRAY[25]), 1
    FROM run_product JOIN run USING (run_id)
    """,
    "UPDATE chunk SET state = 'done', closed_at = now()",
    "UPDATE run SET state = 'finished', finished_at = now()",
)


def lengthen(table: Path, real_files: Path) -> None:
    """Append NEW_ROWS rows of wanted products, later than all others."""
    row = (real_files / "index" / "mer1po_edrindex_sample_row.tab").read_bytes()
    with table.open("ab") as file:
        for number in range(NEW_ROWS):
            new = f"1p{200_000_000 + number}eff0000p2303l2m1"
            file.write(row.replace(b"1p128287181eff0000p2303l2m1", new.encode()))
    os.utime(table, (time.time() + 60, time.time() + 60))  # servers tell it in whole seconds


def timed(engine: sa.Engine, url: str) -> tuple[float, IngestReport]:
    """Seconds for one ingest, and what it came to."""
    start = time.perf_counter()
    with Fetcher() as fetcher:
        report = ingest(engine, NewRun(archives=(url,)), fetcher)
    return time.perf_counter() - start, report


def main() -> None:
    """Measure once, print, and keep the result."""
    real_files = Path(sys.argv[1])
    with (
        tempfile.TemporaryDirectory(prefix="mernet-bench-") as folder,
        fresh_database(sys.argv[2:]) as engine,
        serve(Path(folder)) as base,
    ):
        volume = write_volume(Path(folder), real_files)
        url = f"{base}{volume.name}/"
        first_seconds, first = timed(engine, url)
        with engine.begin() as connection:
            for statement in SETTLE:
                connection.exec_driver_sql(statement)
        lengthen(volume / "index" / "edrindex.tab", real_files)
        new_seconds, new = timed(engine, url)
        unchanged_seconds, unchanged = timed(engine, url)
        assert new.run is not None
        assert unchanged.run is None
        keep(
            engine,
            "ingest",
            {
                "rows": ROWS + NEW_ROWS,
                "listed_before": ledger.progress(engine, 1).listed,
                "new": ledger.progress(engine, new.run.run_id).listed,
                "first_seconds": round(first_seconds, 2),
                "new_seconds": round(new_seconds, 2),
                "unchanged_seconds": round(unchanged_seconds, 3),
            },
        )
        print(first.sentence, new.sentence, unchanged.sentence, sep="\n")


if __name__ == "__main__":
    main()
