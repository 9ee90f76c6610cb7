"""Measure an ingest: 100 new rows in an index as long as Opportunity's, then an unchanged index.

Run `python -m bench.ingest REAL_FILES`. The index is built from the real label and the one real row
in REAL_FILES, and is served over HTTP on loopback. The results go to bench/results/ingest.csv.
"""

import os
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

from bench.database import add_row, database_option_parser, fresh_database
from bench.listing import ROWS, write_volume
from mernet.db import ledger
from mernet.db.ledger import NewRun
from mernet.demo.server import serve
from mernet.pds.fetch import Fetcher
from mernet.worker.ingest import IngestReport, ingest

NEW_ROWS = 100

# Close the first run as if it had classified all its products.
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
    """Append NEW_ROWS rows of wanted products with later clocks than all others."""
    row = (real_files / "index" / "mer1po_edrindex_sample_row.tab").read_bytes()
    with table.open("ab") as file:
        for number in range(NEW_ROWS):
            new = f"1p{200_000_000 + number}eff0000p2303l2m1"
            file.write(row.replace(b"1p128287181eff0000p2303l2m1", new.encode()))
    os.utime(table, (time.time() + 60, time.time() + 60))  # Last-Modified has whole seconds


def timed(engine: sa.Engine, url: str) -> tuple[float, IngestReport]:
    """Run one ingest; return the seconds it took and its report."""
    start = time.perf_counter()
    with Fetcher() as fetcher:
        report = ingest(engine, NewRun(archives=(url,)), fetcher)
    return time.perf_counter() - start, report


def main() -> None:
    """Measure once and add the result."""
    parser = database_option_parser(__doc__)
    parser.add_argument("real_files", type=Path, metavar="REAL_FILES")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="mernet-bench-") as folder,
        fresh_database(arguments.database_url) as engine,
        serve(Path(folder)) as base,
    ):
        volume = write_volume(Path(folder), arguments.real_files)
        url = f"{base}{volume.name}/"
        first_seconds, first = timed(engine, url)
        with engine.begin() as connection:
            for statement in SETTLE:
                connection.exec_driver_sql(statement)
        lengthen(volume / "index" / "edrindex.tab", arguments.real_files)
        new_seconds, new = timed(engine, url)
        unchanged_seconds, unchanged = timed(engine, url)
        assert new.run is not None
        assert unchanged.run is None
        add_row(
            engine,
            arguments.out / "ingest.csv",
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
