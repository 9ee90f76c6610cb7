"""Measures the listing of a PDS3 index as long as Opportunity's: seconds and peak memory.

Run as `python -m bench.listing REAL_FILES`, where REAL_FILES is the folder of real archive files:
the table is made from its real label and its one real row. A line is added to
bench/results/listing.csv.
"""

import csv
import os
import platform
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from mernet.pds.archive import resolve
from mernet.pds.fetch import Fetcher
from mernet.pds.listing import list_products
from mernet.pds.selection import LeftOut, Selection

ROWS = 366_510
# What follows the clock in a name: of 20 rows one is wanted, about the share in the real archive.
OTHERS = [
    f"{kind}{eye}" for kind in ("eff", "esf", "edn", "eth") for eye in ("l5", "l7", "r1", "r2")
]
TAILS = ["effl2", "erpl2", "ersl2", "ecsl2", *OTHERS]
RESULTS = Path(__file__).parent / "results" / "listing.csv"


def write_volume(folder: Path, real_files: Path) -> Path:
    """A volume with the real index label and a table of ROWS rows that differ in their name."""
    index = folder / "mer1po_0xxx" / "index"
    index.mkdir(parents=True)
    shutil.copy(real_files / "index" / "mer2po_edrindex.lbl", index / "edrindex.lbl")
    row = (real_files / "index" / "mer1po_edrindex_sample_row.tab").read_bytes()
    name = b"1p128287181eff0000p2303l2m1"
    with (index / "edrindex.tab").open("wb") as table:
        for number in range(ROWS):
            kind, eye = TAILS[number % len(TAILS)][:3], TAILS[number % len(TAILS)][3:]
            own_name = f"1p{128287181 + number}{kind}0000p2303{eye}m1"
            table.write(row.replace(name, own_name.encode()))
    return index.parent


def measure(volume: Path) -> tuple[float, Counter[str]]:
    """Seconds for the whole listing, and how the rows ended."""
    ends: Counter[str] = Counter()

    def leave_out(left_out: LeftOut) -> None:
        ends[left_out.reason] += 1

    def count(rows: int) -> None:
        ends["rows"] = rows

    start = time.perf_counter()
    with Fetcher() as fetcher:
        archives = [resolve(str(volume))]
        for _ in list_products(archives, Selection(), fetcher, leave_out, count):
            ends["listed"] += 1
    return time.perf_counter() - start, ends


def main() -> None:
    """Measure once, print, and keep the result."""
    with tempfile.TemporaryDirectory(prefix="mernet-bench-") as folder:
        volume = write_volume(Path(folder), Path(sys.argv[1]))
        seconds, ends = measure(volume)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux: kilobytes
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "pvl": version("pvl"),
        "rows": ends["rows"],
        "listed": ends["listed"],
        "seconds": round(seconds, 2),
        "peak_mb": round(peak_mb),
    }
    is_new = not RESULTS.exists()
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, result, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(result)
    print(result, dict(ends), sep="\n")


if __name__ == "__main__":
    main()
