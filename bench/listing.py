"""Measure the listing of a PDS3 index as long as Opportunity's: seconds and peak memory.

Run `python -m bench.listing REAL_FILES`. REAL_FILES is the folder of real archive files; the table
is built from its real label and its one real row. The results go to bench/results/listing.csv.
"""

import platform
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

from bench.recording import (
    add_rows,
    cpu_name,
    option_parser,
    peak_process_memory,
)
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


def write_volume(folder: Path, real_files: Path) -> Path:
    """Write a volume with the real index label and a table of ROWS rows; only names differ."""
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
    """List a volume; return the seconds it took and the number of rows by what happened to them."""
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
    """Measure once and add the result."""
    parser = option_parser(__doc__)
    parser.add_argument("real_files", type=Path, metavar="REAL_FILES")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mernet-bench-") as folder:
        volume = write_volume(Path(folder), arguments.real_files)
        seconds, ends = measure(volume)
    row = {
        "rows": ends["rows"],
        "listed": ends["listed"],
        "seconds": round(seconds, 2),
        "peak_mb": round(peak_process_memory() / 2**20),
    }
    versions = {"python": platform.python_version()}
    add_rows(arguments.out / "listing.csv", [row], cpu_name(), versions)
    print(dict(ends))


if __name__ == "__main__":
    main()
